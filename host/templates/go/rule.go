// Package rule writes the region of a login's locale into a field of its own: en-US becomes US.
package rule

import (
	"slices"
	"strings"

	"pipeline"
)

// Region has what may stand in [stage.settings]; anything else there is refused, with its place.
type Region struct {
	Field   pipeline.Pointer  `json:"field"`
	Into    pipeline.Pointer  `json:"into"`
	Aliases map[string]string `json:"aliases"`
	Drop    []string          `json:"drop"`
}

// New makes the rule from its settings, once before any batch.
func New(settings string) (pipeline.Rule, error) {
	region := &Region{Field: "/locale", Into: "/region"}
	problems := pipeline.ReadSettings(settings, region)
	return region, problems.Err()
}

// Plan says what the rule reads and writes: the host hands over only these fields.
func (r *Region) Plan() pipeline.Plan {
	return pipeline.Plan{
		Reads:  []pipeline.Read{pipeline.Field(r.Field)},
		Writes: []string{string(r.Into)},
	}
}

// Evaluate is asked once a batch: a column has each distinct value once, whatever the number of
// events. It must depend on the batch and the settings alone.
func (r *Region) Evaluate(batch pipeline.Batch) pipeline.Verdict {
	keep := func(value pipeline.Value) bool {
		return value.Tag() != pipeline.IsText || !slices.Contains(r.Drop, r.region(value.Text()))
	}
	edit := func(value pipeline.Value) pipeline.Edit {
		switch value.Tag() {
		case pipeline.IsText:
			return pipeline.Set(pipeline.Text(r.region(value.Text())))
		case pipeline.IsAbsent:
			return pipeline.Leave()
		default: // What is no text is copied as it is.
			return pipeline.Set(value)
		}
	}
	return pipeline.Verdict{
		Fates:   pipeline.KeepWhere(batch, 0, keep),
		Changes: []pipeline.Change{pipeline.ChangeByValue(batch, 0, 0, edit)},
	}
}

// What stands behind the last - or _, in capitals, by its other name if it has one.
func (r *Region) region(locale string) string {
	region := locale[strings.LastIndexAny(locale, "-_")+1:]
	region = strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			return c - 'a' + 'A'
		}
		return c
	}, region)
	if alias, ok := r.Aliases[region]; ok {
		return alias
	}
	return region
}
