// Package export_pipeline_plugin_transforms is what the bindings call: the author's transform.
package export_pipeline_plugin_transforms

import (
	"pipeline"
	"pipeline/wit/types"
	transform "{{module}}"
)

var made pipeline.Transform

func Configure(settings string) wit_types.Result[wit_types.Unit, string] {
	defer pipeline.Died()
	var err error
	if made, err = transform.New(settings); err != nil {
		return wit_types.Err[wit_types.Unit, string](err.Error())
	}
	return wit_types.Ok[wit_types.Unit, string](wit_types.Unit{})
}

func Transform(records []pipeline.Record, now int64) []pipeline.Outcome {
	defer pipeline.Died()
	outcomes := make([]pipeline.Outcome, 0, len(records))
	for _, record := range records {
		outcomes = append(outcomes, made.Transform(record, now))
	}
	return outcomes
}
