// Command component is what `host plugin build` compiles: the bindings, and with them the author's
// package.
package main

import _ "pipeline/wit_exports"

func main() {}
