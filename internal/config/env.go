package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"go.yaml.in/yaml/v3"
)

const envPrefix = "AKUBRA_"

// serviceLink matches the variables that Kubernetes puts into each pod for a service whose name is
// or starts with "akubra". The proxy must start there all the same.
var serviceLink = regexp.MustCompile(`^([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// envProvider reads the AKUBRA_ variables: AKUBRA_LOGGING_MAINLOG_LEVEL is the key
// Logging.Mainlog.Level. Lists are separated by commas; maps and lists of maps are written as in
// YAML: {X-A: b}.
func envProvider(environ []string, m *mistakes) *env.Env {
	return env.Provider(keyDelim, env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			path := envPath(name)
			switch {
			case path == "":
				if !serviceLink.MatchString(strings.TrimPrefix(name, envPrefix)) {
					if near := nearestVariable(name); near != "" {
						m.line("%s: unknown variable, the nearest known one is %s", name, near)
					} else {
						m.line("%s: unknown variable, and no known one is similar; a variable is %s followed by a key in capitals, with _ between levels", name, envPrefix)
					}
				}
				return "", nil
			case m.env[path] != "":
				m.line("%s: %s is the same variable, only one is allowed", name, m.env[path])
				return "", nil
			}
			m.env[path] = name
			v := envValue(value, known[path])
			if headers, ok := v.(map[string]any); ok { // they are added to the file's headers
				for header := range headers {
					m.env[path+"["+header+"]"] = name
				}
			}
			return strings.ReplaceAll(path, ".", keyDelim), v
		},
	})
}

// envPath is the key that a variable sets, or "". No key contains an underscore.
func envPath(name string) string {
	for _, path := range knownPaths {
		if known[path].Kind() != reflect.Struct && strings.EqualFold(name, variable(path)) {
			return path
		}
	}
	return ""
}

func variable(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

func nearestVariable(name string) string {
	var variables []string
	for _, path := range knownPaths {
		if known[path].Kind() != reflect.Struct {
			variables = append(variables, variable(path))
		}
	}
	for _, v := range variables {
		if strings.HasPrefix(v, strings.ToUpper(name)+"_") { // a level such as AKUBRA_TLS
			return v
		}
	}
	// The common prefix must not count as similarity.
	short := func(v string) string { return v[min(len(v), len(envPrefix)):] }
	return nearestOf(short(name), variables, short)
}

// envValue gives s the type that it would have in YAML. If it cannot, s stays text, which
// decodeValue then refuses.
func envValue(s string, t reflect.Type) any {
	switch t.Kind() {
	case reflect.Int, reflect.Float64:
		if !isDecimal(s) {
			return s
		}
	}
	switch t.Kind() {
	case reflect.Int:
		if n, err := strconv.Atoi(s); err == nil {
			return n
		}
	case reflect.Float64:
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f
		}
	case reflect.Bool:
		if b, err := strconv.ParseBool(s); err == nil {
			return b
		}
	case reflect.Slice:
		list := []any{}
		if t.Elem().Kind() == reflect.Struct {
			if yaml.Unmarshal([]byte(s), &list) == nil {
				return list
			}
			break
		}
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		return list
	case reflect.Map:
		headers := map[string]string{}
		if yaml.Unmarshal([]byte(s), &headers) == nil {
			values := map[string]any{} // a type that koanf can merge
			for name, value := range headers {
				values[name] = value
			}
			return values
		}
	}
	return s
}
