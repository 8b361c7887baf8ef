// Package transform makes one record of each line of a record: phones that were offline send their
// logins together.
package transform

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"pipeline"
)

// Lines has what may stand in [stage.settings]; anything else there is refused, with its place.
type Lines struct {
	Header   string `json:"header"`
	MaxLines int64  `json:"max-lines"`
}

// New makes the transform from its settings, once before any batch.
func New(settings string) (pipeline.Transform, error) {
	lines := &Lines{Header: "line", MaxLines: 100}
	problems := pipeline.ReadSettings(settings, lines)
	if lines.MaxLines < 1 {
		problems.Add("/max-lines", "give at least 1")
	}
	return lines, problems.Err()
}

// Transform rewrites one record. It must depend on its arguments and the settings alone.
func (l *Lines) Transform(record pipeline.Record, now int64) pipeline.Outcome {
	var lines [][]byte
	for line := range bytes.SplitSeq(record.Value, []byte("\n")) {
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	switch {
	case len(lines) == 0:
		return pipeline.Drop()
	case len(lines) == 1 && len(lines[0]) == len(record.Value):
		return pipeline.Pass()
	case int64(len(lines)) > l.MaxLines:
		return pipeline.Reject(fmt.Sprintf("%d lines, and max-lines is %d", len(lines), l.MaxLines))
	}
	return pipeline.Emit(l.outputs(record, lines))
}

// One record a line, with the number of the line in a header.
func (l *Lines) outputs(record pipeline.Record, lines [][]byte) []pipeline.Output {
	var outputs []pipeline.Output
	for i, line := range lines {
		number := pipeline.Header{Name: l.Header, Value: pipeline.Some([]byte(strconv.Itoa(i + 1)))}
		outputs = append(outputs, pipeline.Output{
			Key:     record.Key,
			Value:   pipeline.Some(line),
			Headers: append(slices.Clone(record.Headers), number),
		})
	}
	return outputs
}
