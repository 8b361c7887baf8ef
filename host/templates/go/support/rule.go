package pipeline

import (
	events "pipeline/pipeline_plugin_events"
	rules "pipeline/pipeline_plugin_rules"
	"pipeline/wit/types"
)

// A Rule judges JSON events and edits fields of them.
type Rule interface {
	// Plan says which fields the rule reads and writes, once.
	Plan() Plan
	// Evaluate judges one batch. It must depend on the batch and the settings alone.
	Evaluate(batch Batch) Verdict
}

// The types of wit/events.wit and wit/rules.wit, which say what they mean.
type (
	Batch   = events.Batch
	Value   = events.Value
	Plan    = rules.Plan
	Read    = rules.Read
	Verdict = rules.Verdict
	Change  = rules.Change
	Edit    = rules.Edit
	Fate    = rules.Fate
	Fates   = rules.Fates
)

// What a value is, as its Tag says. Where it is a text, Text has it, and so on.
const (
	IsAbsent  = events.ValueAbsent
	IsNull    = events.ValueNull
	IsBoolean = events.ValueBoolean
	IsInteger = events.ValueInteger
	IsNumber  = events.ValueNumber
	IsText    = events.ValueText
	IsJSON    = events.ValueJson
)

// Field reads a field of the events.
func Field(at Pointer) Read { return Read{Source: rules.MakeSourceField(string(at))} }

// Timestamp reads the record's timestamp in milliseconds, an integer.
func Timestamp() Read { return Read{Source: rules.MakeSourceTimestamp()} }

// Key reads the record's key, a text.
func Key() Read { return Read{Source: rules.MakeSourceKey()} }

// Header reads the last header of this name, a text.
func Header(name string) Read { return Read{Source: rules.MakeSourceHeader(name)} }

func Null() Value                { return events.MakeValueNull() }
func Boolean(value bool) Value   { return events.MakeValueBoolean(value) }
func Integer(value int64) Value  { return events.MakeValueInteger(value) }
func Number(value float64) Value { return events.MakeValueNumber(value) }
func Text(value string) Value    { return events.MakeValueText(value) }

// JSON is a value of any kind, as one JSON text.
func JSON(value string) Value { return events.MakeValueJson(value) }

// Leave lets a field stay as it is, byte for byte.
func Leave() Edit { return rules.MakeEditLeave() }

// Remove takes a field out, if it is there.
func Remove() Edit { return rules.MakeEditRemove() }

// Set writes a field.
func Set(value Value) Edit { return rules.MakeEditSet(value) }

// Keep lets an event go on to the next stage.
func Keep() Fate { return rules.MakeFateKeep() }

// Drop leaves an event out of the output, on purpose.
func Drop() Fate { return rules.MakeFateDrop() }

// Reject sends a bad event to the dead letters with this reason.
func Reject(reason string) Fate { return rules.MakeFateReject(reason) }

// FateByValue asks once for each distinct value of a column, a place in the plan's Reads.
func FateByValue(batch Batch, column int, fate func(Value) Fate) wit_types.Option[Fates] {
	fates := byValue(batch, column, fate)
	return wit_types.Some(Fates{Entries: fates, Index: rules.MakeIndexAsColumn(uint32(column))})
}

// KeepWhere drops the events whose value of a column, a place in the plan's Reads, is not kept.
func KeepWhere(batch Batch, column int, keep func(Value) bool) wit_types.Option[Fates] {
	return FateByValue(batch, column, func(value Value) Fate {
		if keep(value) {
			return Keep()
		}
		return Drop()
	})
}

// ChangeByValue asks once for each distinct value of a column, a place in the plan's Reads, what
// becomes of a field, a place in its Writes.
func ChangeByValue(batch Batch, column, write int, edit func(Value) Edit) Change {
	return Change{
		Write: uint32(write),
		Edits: rules.MakeEditsValues(byValue(batch, column, edit)),
		Index: rules.MakeIndexAsColumn(uint32(column)),
	}
}

func byValue[T any](batch Batch, column int, answer func(Value) T) []T {
	values := batch.Columns[column].Dictionary.Values()
	answers := make([]T, 0, len(values))
	for _, value := range values {
		answers = append(answers, answer(value))
	}
	return answers
}
