module plugins/{{name}}

go 1.24

// What the rule is written with: `host plugin build` puts it there.
require pipeline v0.0.0

replace pipeline => ./.build/pipeline
