package config

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/v2"

	"github.com/akubra/akubra/internal/text"
)

// keyDelim is koanf's delimiter of levels. A dot would break up header names; a NUL can occur
// neither in a header's name nor in the environment.
const keyDelim = "\x00"

// decodeInto writes the values in k over the defaults in c. A value of the wrong type is a mistake
// and leaves the default.
func decodeInto(c *Config, k *koanf.Koanf, m *mistakes) {
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		DecodeHook: mapstructure.DecodeHookFuncValue(decodeValue),
		MatchName:  func(key, field string) bool { return key == field },
	}})
	m.wrongTypes(err)
	m.unknownKeys("", k.Raw(), reflect.TypeFor[Config]())
	slices.SortFunc(m.all, func(a, b mistake) int { return strings.Compare(a.text, b.text) }) // map order is random
}

// oneOrMany is a list; a single element may be written without the list.
type oneOrMany []string

// wrongType is decodeValue's error about a value.
type wrongType struct {
	value any
	must  string
}

func (e *wrongType) Error() string { return "must be " + e.must }

// wrongTypes records each value that decodeValue refused, with its path.
func (m *mistakes) wrongTypes(err error) {
	switch e := err.(type) {
	case nil:
	case *mapstructure.DecodeError:
		path := e.Name()
		if wt, ok := errors.AsType[*wrongType](err); ok {
			m.add(path, wt.value, "%s", wt.must)
		} else {
			m.at(path, "%v", e.Unwrap())
		}
		m.broken[path] = true
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			m.wrongTypes(err)
		}
	case interface{ Unwrap() error }:
		m.wrongTypes(e.Unwrap())
	default:
		m.line("cannot decode: %v", err)
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil && isDecimal(s)
}

// isDecimal reports whether s, a number, perhaps with a unit, is written in a way that everybody
// reads alike: in decimal digits, without leading zeros (octal to some) and underscores.
func isDecimal(s string) bool { return !otherNotation.MatchString(s) }

var otherNotation = regexp.MustCompile(`(^[-+]?|[^-+0-9.eE])0([0-9xXoO]|[bB][0-9])|_`)

// decimally adds to what a value must be, if it is a number in another notation.
func decimally(value any, must string) string {
	if s, ok := value.(string); ok && s != "" && strings.ContainsAny(s[:1], "+-0123456789") && !isDecimal(s) {
		return must + ", in decimal digits, without leading zeros and underscores"
	}
	return must
}

// tooLong matches a duration. One that time.ParseDuration refuses all the same does not fit into 64 bits.
var tooLong = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`)

// decodeValue is the only place that says how a type is written in YAML. As a mapstructure hook it
// sees each value first and returns it in the target's own type. (mapstructure itself would
// truncate 1.5 to 1 and take 3 for three nanoseconds.)
func decodeValue(from, to reflect.Value) (any, error) {
	value := from.Interface()
	refuse := func(must string) (any, error) { return nil, &wrongType{value, decimally(value, must)} }
	switch to.Interface().(type) {
	case time.Duration:
		if value == 0 {
			return time.Duration(0), nil
		}
		if s, ok := value.(string); ok {
			if d, err := time.ParseDuration(s); err == nil && isDecimal(s) {
				return d, nil
			}
			if tooLong.MatchString(s) && isDecimal(s) {
				return refuse(notSoLong)
			}
		}
		return refuse("a duration with its unit, as in 500ms, 3s or 1m30s")
	case text.ByteSize:
		switch v := value.(type) {
		case int:
			return text.ByteSize(v), nil
		case string:
			if n, ok := text.ParseSize(v); ok && isDecimal(v) {
				return n, nil
			}
		case text.ByteSize: // of ratesOf
			return v, nil
		}
		return refuse("a size in bytes, as in 65536, 256KiB or 1MB")
	case int:
		if n, ok := value.(int); ok {
			return n, nil
		}
		if s, ok := value.(string); ok && isNumber(s) {
			return refuse("a whole number, without quotes")
		}
		return refuse("a whole number")
	case float64:
		switch v := value.(type) {
		case int:
			return float64(v), nil
		case float64:
			return v, nil
		}
		return refuse("a number")
	case bool:
		if b, ok := value.(bool); ok {
			return b, nil
		}
		return refuse("true or false")
	case Conflict:
		if c, ok := conflictOf(value); ok {
			return c, nil
		}
		return refuse("park, newest, or a map with the key prefer and one of Backends")
	case Rates:
		if r, ok := ratesOf(value); ok {
			return r, nil
		}
		if from.Kind() != reflect.Map {
			return refuse("a size in bytes, as in 1MB, or a map of sizes by backend")
		}
	case string, secret:
		if s, ok := value.(string); ok {
			return s, nil
		}
		if from.Kind() == reflect.Map || from.Kind() == reflect.Slice {
			return refuse("text")
		}
		return refuse("text (write it in quotes)")
	case oneOrMany:
		if s, ok := value.(string); ok {
			if s == "" {
				return oneOrMany{}, nil
			}
			return oneOrMany{s}, nil
		}
		if from.Kind() != reflect.Slice {
			return refuse("text, or a list of texts")
		}
	case []string:
		if s, ok := value.(string); ok && strings.HasPrefix(s, "-") {
			return refuse("a list: a space is missing after the dash")
		}
		if from.Kind() != reflect.Slice {
			return refuse("a list")
		}
	case []BackendCredentialsConfig, []BackendTLSConfig:
		if from.Kind() != reflect.Slice {
			return refuse("a list of maps with the keys " + strings.Join(fieldNames(to.Type().Elem()), ", "))
		}
	default:
		if from.Kind() == reflect.Map {
			break
		}
		if to.Kind() == reflect.Struct {
			return refuse("a map with the keys " + strings.Join(fieldNames(to.Type()), ", "))
		}
		return refuse("a map, as in {NAME: VALUE}")
	}
	return value, nil
}
