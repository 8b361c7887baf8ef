package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Pointer is a field of an event: a JSON Pointer (RFC 6901) that is not empty, such as /client/ip.
type Pointer string

// Problems are what is wrong with the settings, one a line, each with its place.
type Problems struct{ lines []string }

// Add adds a problem at a place, a JSON Pointer into the settings or "". The message says what is
// wrong and how to mend it.
func (p *Problems) Add(at, message string) {
	if at != "" {
		message = at + ": " + message
	}
	p.lines = append(p.lines, message)
}

// Err is an error if anything is wrong.
func (p *Problems) Err() error {
	if len(p.lines) == 0 {
		return nil
	}
	return errors.New(strings.Join(p.lines, "\n"))
}

// ReadSettings fills a struct, which has the defaults, from the settings, by the names in its json
// tags. Members may be texts, Pointers, whole numbers, numbers, bools, and structs, slices and maps
// of those. Whatever is wrong stays as it was, and is told.
func ReadSettings(settings string, into any) *Problems {
	problems := &Problems{}
	decoder := json.NewDecoder(strings.NewReader(settings))
	decoder.UseNumber()
	var found any
	if err := decoder.Decode(&found); err != nil {
		problems.Add("", "settings are not JSON: "+err.Error())
		return problems
	}
	problems.read("", found, reflect.ValueOf(into).Elem())
	return problems
}

// Reads one value, and goes into what has members.
func (p *Problems) read(at string, found any, into reflect.Value) {
	switch into.Kind() {
	case reflect.Struct:
		p.readStruct(at, found, into)
	case reflect.Map:
		table, ok := found.(map[string]any)
		if !ok {
			p.refuse(at, "a table", found)
			return
		}
		into.Set(reflect.MakeMap(into.Type()))
		for _, name := range slices.Sorted(maps.Keys(table)) {
			value := reflect.New(into.Type().Elem()).Elem()
			p.read(member(at, name), table[name], value)
			into.SetMapIndex(reflect.ValueOf(name).Convert(into.Type().Key()), value)
		}
	case reflect.Slice:
		list, ok := found.([]any)
		if !ok {
			p.refuse(at, "a list", found)
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, item := range list {
			p.read(member(at, strconv.Itoa(i)), item, into.Index(i))
		}
	default:
		p.readScalar(at, found, into)
	}
}

func (p *Problems) readStruct(at string, found any, into reflect.Value) {
	table, ok := found.(map[string]any)
	if !ok {
		p.refuse(at, "a table", found)
		return
	}
	var known []string
	fields := map[string]reflect.Value{}
	for i := range into.NumField() {
		if name, _, _ := strings.Cut(into.Type().Field(i).Tag.Get("json"), ","); name != "" {
			known = append(known, name)
			fields[name] = into.Field(i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if field, ok := fields[name]; ok {
			p.read(member(at, name), table[name], field)
		} else {
			p.Add(member(at, name), "unknown key: "+meant(name, known))
		}
	}
}

func (p *Problems) readScalar(at string, found any, into reflect.Value) {
	switch into.Kind() {
	case reflect.String:
		text, ok := found.(string)
		if !ok {
			p.refuse(at, "a text", found)
		} else if problem := pointerProblem(text); problem != "" && into.Type() == reflect.TypeFor[Pointer]() {
			p.Add(at, problem)
		} else {
			into.SetString(text)
		}
	case reflect.Bool:
		if yes, ok := found.(bool); ok {
			into.SetBool(yes)
		} else {
			p.refuse(at, "true or false", found)
		}
	case reflect.Int64:
		number, ok := found.(json.Number)
		if !ok || strings.ContainsAny(number.String(), ".eE") {
			p.refuse(at, "a whole number", found)
		} else if whole, err := number.Int64(); err != nil {
			p.Add(at, fmt.Sprintf("%s is not between %d and %d", number, math.MinInt64, math.MaxInt64))
		} else {
			into.SetInt(whole)
		}
	case reflect.Float64:
		number, ok := found.(json.Number)
		value, err := number.Float64()
		if ok && err == nil {
			into.SetFloat(value)
		} else {
			p.refuse(at, "a number", found)
		}
	default:
		panic("settings cannot be a " + into.Type().String() + ": use int64 and float64 for numbers")
	}
}

// Says what stands there instead of what was expected, and how to mend it.
func (p *Problems) refuse(at, wanted string, found any) {
	is, scalar, mend := "null", false, ""
	switch value := found.(type) {
	case bool:
		is, scalar = "true or false", true
	case json.Number:
		is, scalar = "a whole number", true
		if strings.ContainsAny(value.String(), ".eE") {
			is = "a number with a fraction"
		}
	case string:
		is, scalar = "a text", true
	case []any:
		is = "a list"
	case map[string]any:
		is = "a table"
	}
	text, isText := found.(string)
	_, err := strconv.ParseFloat(text, 64)
	number := strings.HasSuffix(wanted, "number") && err == nil
	boolean := wanted == "true or false" && (text == "true" || text == "false")
	switch {
	case wanted == "a text" && scalar:
		mend = ": put it in quotes"
	case isText && (number || boolean):
		mend = ": take the quotes away"
	case wanted == "a list":
		mend = ": put it in `[ ]`"
	case wanted == "a table":
		mend = ": write `{ … }`"
	}
	p.Add(at, "expected "+wanted+", found "+is+mend)
}

func pointerProblem(text string) string {
	if !strings.HasPrefix(text, "/") {
		return fmt.Sprintf("`%s` is no JSON Pointer: write `/%s`", text, text)
	}
	if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(text), "~") {
		return fmt.Sprintf("`%s` is no JSON Pointer: write `~` as `~0`, and `/` within a name as `~1`", text)
	}
	return ""
}

func member(table, name string) string {
	return table + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// What to do about a key that is not known.
func meant(found string, known []string) string {
	if len(known) == 0 {
		return "take it out; there are none here"
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(found, a) - distance(found, b) })
	if distance(found, nearest) <= max(1, len(nearest)/3) {
		return "did you mean `" + nearest + "`?"
	}
	names := "`" + strings.Join(known, "`, `") + "`"
	if last := strings.LastIndex(names, ", "); last >= 0 {
		names = names[:last] + " and " + names[last+2:]
	}
	return "take it out; known are " + names
}

// How many letters have to be changed, added, taken out or swapped with their neighbour.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
		for j := 1; j <= len(b); j++ {
			if i == 0 {
				rows[i][j] = j
				continue
			}
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
