// Package pipeline is what a plugin of the pipeline is written with.
package pipeline

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	log "pipeline/pipeline_plugin_log"
)

// Logf writes a line to the host's log, which shows it to the operator. What is printed arrives
// there, too: os.Stdout as this does, os.Stderr as an error.
func Logf(format string, args ...any) {
	log.Write(log.LevelInfo, fmt.Sprintf(format, args...))
}

// Warnf is Logf for what the operator should look at some time.
func Warnf(format string, args ...any) {
	log.Write(log.LevelWarn, fmt.Sprintf(format, args...))
}

// Died is deferred around what the host calls. The host shows the last line that is logged before
// a plugin gives up, so a panic becomes one line, with its place.
func Died() {
	cause := recover()
	if cause == nil {
		return
	}
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	frame, more := frames.Next()
	for more && strings.HasPrefix(frame.Function, "runtime.") {
		frame, more = frames.Next()
	}
	place := fmt.Sprintf("%s:%d", path.Base(frame.File), frame.Line)
	log.Write(log.LevelError, fmt.Sprintf("panic: %v, at %s", cause, place))
	os.Exit(2)
}
