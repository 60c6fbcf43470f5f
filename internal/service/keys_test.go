package service

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/akubra/akubra/engine"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/words"
	"github.com/akubra/akubra/limiter"
)

// Besides its field, a configuration key needs a default, a check, a line in config.yaml.example, a
// row in docs/CONFIGURATION.md, and somebody who reads it. The tables below hold what cannot be derived from the
// code.
var (
	// Keys whose default is nothing: none, off, empty, or taken from elsewhere.
	defaultIsNothing = []string{
		"Backends", "MaintainedBackend", "AdditionalRequestHeaders", "AdditionalResponseHeaders", "AdminHosts", "AdminToken", "MetricsListen", "MetricsToken", "Domains",
		"ShutdownDelay", "TLS.CertFile", "TLS.KeyFile", "TLS.Backends.CAFile", "TLS.Backends.InsecureSkipVerify",
		"TLS.Backends.ClientCertFile", "TLS.Backends.ClientKeyFile", "BackendTLS",
		"Logging.Synclog.Stdout", "Logging.Synclog.File", "Logging.Synclog.Syslog",
		"Logging.Accesslog.Stdout", "Logging.Accesslog.Stderr", "Logging.Accesslog.File", "Logging.Accesslog.Syslog",
		"Logging.Mainlog.Stdout", "Logging.Mainlog.File", "Logging.Mainlog.Syslog",
		"Credentials.AccessKey", "Credentials.SecretKey", "Credentials.Region", "Credentials.File", "BackendCredentials",
		"ReadFrom", "Primary", "ProbeBucket", "ReadCheck", "Repair.ObjectsPerSecond", "Repair.BytesPerSecond", "Repair.CopyBucketConfig",
	}
	// A value of the right type that the check refuses, as written in YAML.
	refused = map[string]string{
		"Listen": "nowhere", "Backends": "[ftp://a]", "ConnLimit": "0", "ConnectionTimeout": "0s", "ConnectionDialTimeout": "0s",
		"AdditionalRequestHeaders": "{Host: x}", "AdditionalResponseHeaders": "{Host: x}", "MaintainedBackend": "http://other",
		"SyncLogMethods": "[BREW]", "AdminListen": "nowhere", "MetricsListen": "nowhere", "MetricsToken": "short", "AdminHosts": "['http://a']", "AdminToken": "'too short'", "Domains": "['http://a']",
		"Primary": "http://other", "PrimaryWait": "-1s", "ProbeBucket": "a/b",
		"ReadPolicy": "some", "ReadFrom": "{'http://other': 1}", "StaleReads": "some", "HedgeAfter": "never", "HedgeBudget": "2", "ReadCheck": "-1",
		"WriteAck": "some", "RingSize": "1", "StallTimeout": "-1s", "FailureLimit": "-1", "MaxBodySize": "-1", "MaxHeaderSize": "1",
		"MaxConcurrentRequests": "0", "MinClientRate": "-1", "ShutdownDelay": "-1s", "ShutdownTimeout": "-1s", "CongestionControl": "'?'",
		"TLS.CertFile": "none", "TLS.KeyFile": "none", "TLS.Backends.CAFile": "none",
		"TLS.Backends.ClientCertFile": "none", "TLS.Backends.ClientKeyFile": "none",
		"TLS.MinVersion": "'1.1'", "TLS.Backends.MinVersion": "1.4", "BackendTLS": "[{Backend: 'http://a'}]",
		"Logging.Synclog.Syslog": "x", "Logging.Accesslog.Syslog": "x", "Logging.Mainlog.Syslog": "x",
		"Logging.Synclog.Level": "x", "Logging.Accesslog.Level": "x", "Logging.Mainlog.Level": "x",
		"DataDir": "''", "Durability": "some", "OnJournalError": "some",
		"Credentials.AccessKey": "'a b'", "Credentials.SecretKey": "alone", "Credentials.Region": "'a b'", "Credentials.File": "none",
		"BackendCredentials": "[{Backend: http://other}]", "Repair.Enabled": "some", "OnConflict": "some", "Repair.Concurrency": "0", "Repair.ObjectsPerSecond": "-1",
		"Repair.BytesPerSecond": "-1", "Repair.MaxTries": "0",
	}
	// Keys that accept any value.
	allowedAny = []string{
		"Credentials.Profile",                                                    // is looked up in File
		"Logging.Synclog.File", "Logging.Accesslog.File", "Logging.Mainlog.File", // are opened at the start
	}
	// Who reads a key, if not the engine.
	readBy = map[string]string{
		"Listen": "Proxy.Start", "Backends": "Proxy.makeBackends", "MaintainedBackend": "limiter", "ConnLimit": "shareFiles",
		"AdminListen": "Proxy.Start", "AdminHosts": "admin", "AdminToken": "admin", "MetricsListen": "Proxy.listenForMetrics", "MetricsToken": "admin", "FailureLimit": "limiter", "ShutdownDelay": "Proxy.Stop", "ShutdownTimeout": "Proxy.Stop",
		"CongestionControl": "backends", "TLS": "Proxy.makeEngine, Proxy.makeBackends", "BackendTLS": "Proxy.makeBackends", "Logging": "logs", "DataDir": "ledger",
		"Durability": "ledger", "OnJournalError": "ledger, Proxy.journalTrouble", "Credentials": "RepairBackends",
		"BackendCredentials": "RepairBackends", "ProbeBucket": "Proxy.makeProbe", "Repair": "RepairOptions", "OnConflict": "RepairOptions",
	}
)

func mustRead(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", file))
	testkit.MustDo(t, err)
	return string(content)
}

// TestEveryKeyIsEverywhere names what was forgotten when a key was added to Config, or left behind
// when one was removed.
func TestEveryKeyIsEverywhere(t *testing.T) {
	var example map[string]any
	testkit.MustDo(t, yaml.Unmarshal([]byte(mustRead(t, "config.yaml.example")), &example))
	// The first cell of a row contains the key, or several.
	rows := strings.Join(regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllString(mustRead(t, "docs/CONFIGURATION.md"), -1), "\n")
	defaults := config.Default()
	var paths, top []string
	var walk func(parent string, v reflect.Value, example map[string]any)
	walk = func(parent string, v reflect.Value, example map[string]any) {
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("koanf")
			path := strings.TrimPrefix(parent+"."+name, ".")
			inExample, ok := example[name]
			if name == "" || !ok {
				t.Errorf("%s (field %s) has no line in config.yaml.example", path, v.Type().Field(i).Name)
			}
			if v.Field(i).Kind() == reflect.Struct {
				level, _ := inExample.(map[string]any)
				walk(path, v.Field(i), level)
				continue
			}
			paths = append(paths, path)
			if zero := v.Field(i).IsZero(); zero != slices.Contains(defaultIsNothing, path) {
				t.Errorf("%s: its default in config.Default is %v; is that what defaultIsNothing says?", path, v.Field(i))
			}
			wantRefused(t, path, v.Field(i).Kind())
		}
	}
	walk("", reflect.ValueOf(defaults).Elem(), example)
	for field := range reflect.TypeFor[config.Config]().Fields() {
		key := field.Tag.Get("koanf")
		top = append(top, key)
		if !strings.Contains(rows, "`"+key+"`") {
			t.Errorf("%s has no row in docs/CONFIGURATION.md", key)
		}
		wantRead(t, field)
	}
	for _, table := range [][]string{defaultIsNothing, allowedAny, slices.Collect(keysOf(refused))} {
		for _, path := range table {
			if !slices.Contains(paths, path) {
				t.Errorf("%s is in a table of this test, and no key", path)
			}
		}
	}
	for key := range readBy {
		if !slices.Contains(top, key) {
			t.Errorf("%s is in readBy, and no key", key)
		}
	}
}

func keysOf(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// wantRefused checks a configuration with a wrong value at path.
func wantRefused(t *testing.T, path string, kind reflect.Kind) {
	t.Helper()
	value, ok := refused[path]
	if free := kind == reflect.Bool || slices.Contains(allowedAny, path); free || !ok {
		if free == ok {
			t.Errorf("%s: does Config.check look at it? refused has no value for it, or allowedAny is wrong", path)
		}
		return
	}
	levels := strings.Split(path, ".")
	text := value
	for _, name := range slices.Backward(levels) {
		text = fmt.Sprintf("{%s: %s}", name, text)
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}") + "\n"
	if path != "Backends" {
		text += "Backends: ['http://a', 'http://b']\n"
	}
	_, err := config.Parse([]byte(text), nil)
	name := levels[len(levels)-1]
	if err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("%s: %s passes Config.check, or the mistake does not name the key: %v", path, value, err)
	}
}

// wantRead changes a key and checks that the engine's options change with it.
func wantRead(t *testing.T, field reflect.StructField) {
	t.Helper()
	key := field.Tag.Get("koanf")
	plain, changed := config.Default(), config.Default()
	plain.Backends, changed.Backends = []string{"http://a"}, []string{"http://a"}
	v := reflect.ValueOf(changed).Elem().FieldByIndex(field.Index)
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int()/2 + 1)
	case reflect.String:
		v.SetString("other")
		if key == "HedgeAfter" { // what is not in its list is a time
			v.SetString("1s")
		}
	case reflect.Float64:
		v.SetFloat(v.Float()/2 + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.Append(v, reflect.ValueOf("GET").Convert(v.Type().Elem())))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"X-A": "b"}))
	}
	const files = 1 << 20
	same := reflect.DeepEqual(engineOptions(plain, sharesOf(files, plain)), engineOptions(changed, sharesOf(files, changed)))
	who, elsewhere := readBy[key]
	switch {
	case same && !elsewhere:
		t.Errorf("%s makes no difference to the engine's options: engineOptions has forgotten it, or readBy lacks who reads it", key)
	case !same && elsewhere:
		t.Errorf("%s makes a difference to the engine's options, and readBy says that %s reads it", key, who)
	}
}

// TestR22EveryKeyAtReload names the keys of which it is not said whether a reload applies them: in
// keysAtReload, and where one needs a restart in docs/CONFIGURATION.md and config.yaml.example.
func TestR22EveryKeyAtReload(t *testing.T) {
	var all, restart []string
	for _, path := range config.Paths() {
		all = append(all, path)
		switch keysAtReload[path] {
		case isApplied:
		case needsRestart:
			restart = append(restart, path)
		default:
			t.Errorf("%s is not in keysAtReload: is it applied at a reload?", path)
		}
	}
	for path := range keysAtReload {
		if !slices.Contains(all, path) {
			t.Errorf("%s is in keysAtReload, and no key", path)
		}
	}
	_, list, _ := strings.Cut(mustRead(t, "docs/CONFIGURATION.md"), "These keys need a restart:")
	list, _, _ = strings.Cut(list, ".")
	var said []string
	for _, quoted := range regexp.MustCompile("`[^`]+`").FindAllString(list, -1) {
		said = append(said, strings.Trim(quoted, "`"))
	}
	if !slices.Equal(said, restart) {
		t.Errorf("docs/CONFIGURATION.md says that these keys need a restart: %q, want %q", said, restart)
	}
	said = nil
	for _, found := range regexp.MustCompile(`(?m)^# Needs a restart\.\n([A-Za-z]+):`).FindAllStringSubmatch(mustRead(t, "config.yaml.example"), -1) {
		said = append(said, found[1])
	}
	slices.Sort(said)
	slices.Sort(restart)
	if !slices.Equal(said, restart) {
		t.Errorf("config.yaml.example says that these keys need a restart: %q, want %q", said, restart)
	}
}

// Words that configuration and engine share without knowing each other are the same.
func TestWordsOnBothSides(t *testing.T) {
	for word, engines := range map[string]string{
		words.ReadPrefer: engine.ReadPrefer, words.ReadSpread: engine.ReadSpread,
		words.ReadFastest: engine.ReadFastest, words.StaleRefuse: engine.StaleRefuse, words.StaleAllow: engine.StaleAllow,
		words.AckFirst: engine.AckFirst, words.AckQuorum: engine.AckQuorum, words.AckAll: engine.AckAll,
	} {
		if engines != word {
			t.Errorf("the engine takes %q for %q", engines, word)
		}
	}
	if config.MaxBackends != limiter.MaxBackends {
		t.Errorf("the configuration allows %d backends, the limiter %d", config.MaxBackends, limiter.MaxBackends)
	}
}
