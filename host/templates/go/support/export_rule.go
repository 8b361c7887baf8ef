// Package export_pipeline_plugin_rules is what the bindings call: the author's rule.
package export_pipeline_plugin_rules

import (
	"pipeline"
	"pipeline/wit/types"
	rule "{{module}}"
)

var made pipeline.Rule

func Configure(settings string) wit_types.Result[pipeline.Plan, string] {
	defer pipeline.Died()
	var err error
	if made, err = rule.New(settings); err != nil {
		return wit_types.Err[pipeline.Plan, string](err.Error())
	}
	return wit_types.Ok[pipeline.Plan, string](made.Plan())
}

func Evaluate(batch pipeline.Batch) pipeline.Verdict {
	defer pipeline.Died()
	return made.Evaluate(batch)
}
