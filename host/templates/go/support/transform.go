package pipeline

import (
	transforms "pipeline/pipeline_plugin_transforms"
	"pipeline/wit/types"
)

// A Transform rewrites whole records of any format: one in, none or several out.
type Transform interface {
	// Transform rewrites one record. now is the time of processing in milliseconds since 1970.
	Transform(record Record, now int64) Outcome
}

// The types of wit/transforms.wit, which says what they mean.
type (
	Header  = transforms.Header
	Record  = transforms.KafkaRecord
	Output  = transforms.Output
	Outcome = transforms.Outcome
	// An Option is a value or none: see IsSome, Some and SomeOr. Its zero value is none.
	Option[T any] = wit_types.Option[T]
)

// Some is an Option with a value.
func Some[T any](value T) Option[T] { return wit_types.Some(value) }

// Pass lets a record go on as it is.
func Pass() Outcome { return transforms.MakeOutcomePass() }

// Drop leaves a record out of the output, on purpose.
func Drop() Outcome { return transforms.MakeOutcomeDrop() }

// Emit puts these in a record's place, in this order.
func Emit(outputs []Output) Outcome { return transforms.MakeOutcomeEmit(outputs) }

// Reject sends a bad record to the dead letters with this reason.
func Reject(reason string) Outcome { return transforms.MakeOutcomeReject(reason) }
