package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/text"
)

const twoBackends = "Backends: [http://a, https://b:9000]\n"

func mustParseConfig(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), environ)
	testkit.MustDo(t, err)
	return c
}

// configMistakes returns the lines of Parse's error, none if there is no error.
func configMistakes(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	c, err := Parse([]byte(text), environ)
	if err == nil {
		return nil
	}
	lines, ok := errors.AsType[Errors](err)
	if !ok || c != nil || err.Error() != strings.Join(lines, "\n") {
		t.Fatalf("parseConfig = %v, %T %v", c, err, err)
	}
	return lines
}

func wantMistakes(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("mistakes:\n%s\nnot:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// examplePath is the file that operators start from.
var examplePath = filepath.Join("..", "..", "config.yaml.example")

// The example is what operators start from, so it must contain the real defaults.
func TestConfigExample(t *testing.T) {
	got, err := Load(examplePath)
	testkit.MustDo(t, err)
	want := Default()
	want.Backends = []string{"http://s3.first.example.com:9000", "http://s3.second.example.com:9000"}
	want.MaintainedBackend, want.Primary, want.Domains, want.AdminHosts = oneOrMany{}, oneOrMany{}, []string{}, []string{}
	want.AdditionalRequestHeaders, want.AdditionalResponseHeaders = map[string]string{}, map[string]string{}
	want.ReadFrom = map[string]string{}
	want.BackendCredentials, want.BackendTLS = []BackendCredentialsConfig{}, []BackendTLSConfig{}
	want.finish()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestConfigOriginal(t *testing.T) {
	got, err := Load(filepath.Join("testdata", "original.yaml"))
	testkit.MustDo(t, err)
	want := Default()
	want.Backends = []string{"http://s3.dc1.internal", "http://s3.dc2.internal"}
	want.ConnLimit = 100
	want.AdditionalResponseHeaders = map[string]string{
		"Access-Control-Allow-Origin":      "*",
		"Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods":     "GET, POST, OPTIONS",
		"Access-Control-Allow-Headers":     "DNT,X-CustomHeader,Keep-Alive,User-Agent",
	}
	want.AdditionalRequestHeaders = map[string]string{
		"Cache-Control":    "public, s-maxage=600, max-age=600",
		"X-akubra-version": "0.9.26",
	}
	want.ConnectionTimeout = 3 * time.Second
	want.ConnectionDialTimeout = time.Second
	want.MaintainedBackend = oneOrMany{"http://s3.dc2.internal"}
	want.SyncLogMethods = []string{"PUT", "DELETE"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if mask := got.MaintainedMask(); mask != 0b10 {
		t.Errorf("maintainedMask = %b", mask)
	}
}

func TestConfigValues(t *testing.T) {
	for name, tc := range map[string]struct {
		yaml string
		got  func(*Config) any
		want any
	}{
		"size in KiB":       {"RingSize: 64KiB", func(c *Config) any { return c.RingSize }, text.ByteSize(64 << 10)},
		"size in MB":        {"RingSize: 1 MB", func(c *Config) any { return c.RingSize }, text.ByteSize(1e6)},
		"size in bytes":     {"RingSize: 65536", func(c *Config) any { return c.RingSize }, text.ByteSize(65536)},
		"size as text":      {"RingSize: '65536B'", func(c *Config) any { return c.RingSize }, text.ByteSize(65536)},
		"no body limit":     {"MaxBodySize: 0", func(c *Config) any { return c.MaxBodySize }, text.ByteSize(0)},
		"no admin":          {"AdminListen: ''", func(c *Config) any { return c.AdminListen }, ""},
		"no value":          {"ConnLimit:", func(c *Config) any { return c.ConnLimit }, 1000},
		"no methods":        {"SyncLogMethods: []", func(c *Config) any { return c.SyncLogMethods }, []string{"PUT", "POST", "DELETE"}},
		"fewer methods":     {"SyncLogMethods: [GET]", func(c *Config) any { return c.SyncLogMethods }, []string{"GET"}},
		"zero duration":     {"ShutdownTimeout: 0", func(c *Config) any { return c.ShutdownTimeout }, time.Duration(0)},
		"the stall timeout": {"ConnectionTimeout: 9s", func(c *Config) any { return c.StallTimeout }, time.Second}, // R10
		"no stall timeout":  {"ConnectionTimeout: 9s\nStallTimeout: 0s", func(c *Config) any { return c.StallTimeout }, 9 * time.Second},
		"own stall timeout": {"StallTimeout: 2s", func(c *Config) any { return c.StallTimeout }, 2 * time.Second},
		"none maintained":   {"MaintainedBackend: ''", func(c *Config) any { return c.MaintainedMask() }, uint64(0)},
		"list maintained":   {"MaintainedBackend: [http://A:80/]", func(c *Config) any { return c.MaintainedMask() }, uint64(1)},
		"original's listen": {"Listen: 0:8000", func(c *Config) any { return c.Listen }, "0:8000"},
		"one level of many": {"Logging: {Mainlog: {Level: debug}}", func(c *Config) any { return c.Logging.Mainlog },
			LogOutput{Stderr: true, Level: "debug"}},
		"keys of digits": {"Credentials: {AccessKey: 0123, SecretKey: 1e3, Region: no}",
			func(c *Config) any {
				return []string{string(c.Credentials.AccessKey), string(c.Credentials.SecretKey), c.Credentials.Region}
			},
			[]string{"0123", "1e3", "no"}},
		"merge": {"Logging: {Synclog: &l {Level: debug, Stderr: true}, Accesslog: {<<: [*l, {Level: warn, File: 7}], Stderr: false}}", func(c *Config) any { return c.Logging.Accesslog },
			LogOutput{Level: "debug", File: "7"}},
		"one anchor, two types": {"ConnLimit: &n 100\nCredentials: {AccessKey: *n, SecretKey: *n}",
			func(c *Config) any { return []any{c.ConnLimit, string(c.Credentials.SecretKey)} }, []any{100, "100"}},
		// The original's YAML parser took values that are not text as the text they were written
		// as.
		"headers as written": {"AdditionalResponseHeaders: {X-Age: 0600, X-Day: 2020-01-02, X-Not: True, X.y: 1.0, X-None: }",
			func(c *Config) any { return c.AdditionalResponseHeaders },
			map[string]string{"X-Age": "0600", "X-Day": "2020-01-02", "X-Not": "True", "X.y": "1.0", "X-None": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustParseConfig(t, twoBackends+tc.yaml)
			if got := tc.got(c); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %#v, not %#v", got, tc.want)
			}
		})
	}
}

func TestConfigBackendURLs(t *testing.T) {
	var got []string
	for _, u := range mustParseConfig(t, "Backends: ['http://A.b/', 'https://[::1]:9000']").BackendURLs() {
		got = append(got, u.String())
	}
	if want := []string{"http://A.b", "https://[::1]:9000"}; !slices.Equal(got, want) {
		t.Errorf("backendURLs = %q, not %q", got, want)
	}
}

// R21: each mistake has its line, with the key, the value and what is allowed.
func TestR21Mistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		yaml string
		want string // a regular expression for the only line
	}{
		"unknown key":          {"Listne: x", `^Listne: unknown key, the nearest known one is Listen$`},
		"letter case":          {"connLimit: 5", `^connLimit: unknown key, the nearest known one is ConnLimit$`},
		"unknown key inside":   {"TLS: {Backends: {CaFile: x}}", `^TLS\.Backends\.CaFile: unknown key, .* TLS\.Backends\.CAFile$`},
		"unknown log key":      {"Logging: {Mainlog: {level: debug}}", `^Logging\.Mainlog\.level: .* Logging\.Mainlog\.Level$`},
		"end of a longer key":  {"TLS: {Backends: {CertFile: x}}", `^TLS\.Backends\.CertFile: unknown key, .* TLS\.Backends\.ClientCertFile$`},
		"no secret":            {"Credentials: {AccessKey: a}", `^Credentials\.SecretKey: "" is not allowed, must be the secret key for Credentials\.AccessKey`},
		"mapped address":       {"Listen: 127.0.0.1:80\nAdminListen: '[::ffff:127.0.0.1]:80'", `^AdminListen: "\[::ffff:127\.0\.0\.1\]:80" is not allowed, must be an address of its own`},
		"number in a merge":    {"<<: {ConnLimit: 0x10}", `^ConnLimit: "0x10" is not allowed, must be a whole number, in decimal digits`},
		"key of another level": {"KeyFile: x", `^KeyFile: .* TLS\.KeyFile$`},
		"key of many lines":    {`"a\nb": 1`, `^a\\nb: unknown key`},
		"number for text":      {"Listen: 8080", `^Listen: "8080" is not allowed, must be host:port, or :port for all addresses, as in ":8080"$`},
		"text for number":      {"ConnLimit: '5'", `^ConnLimit: "5" is not allowed, must be a whole number, without quotes$`},
		"number with exponent": {"ConnLimit: 1e3", `^ConnLimit: 1e\+03 is not allowed, must be a whole number$`},
		"fraction":             {"ConnLimit: 100.5", `^ConnLimit: 100.5 is not allowed, must be a whole number$`},
		"huge number":          {"ConnLimit: 99999999999999999999", `^ConnLimit: 1e\+20 is not allowed, must be a whole number$`},
		"text for switch":      {"CompareETags: yes", `^CompareETags: "yes" is not allowed, must be true or false$`},
		"text for list":        {"Domains: s3.example.com", `^Domains: "s3.example.com" is not allowed, must be a list$`},
		"number in list":       {"SyncLogMethods: [PUT, 5]", `^SyncLogMethods\[1\]: "5" is not allowed, must be one of GET, `},
		"number as only one":   {"MaintainedBackend: [5]", `^MaintainedBackend: "5" is not allowed, must be one of Backends$`},
		"map for list":         {"MaintainedBackend: {a: b}", `^MaintainedBackend: a map is not allowed, must be text, or a list`},
		"text for map":         {"TLS: on", `^TLS: "on" is not allowed, must be a map with the keys CertFile, KeyFile, MinVersion, Backends$`},
		"list for headers":     {"AdditionalRequestHeaders: [X]", `^AdditionalRequestHeaders: a list is not allowed, must be a map, as in {NAME: VALUE}`},
		"map for header":       {"AdditionalRequestHeaders: {X: {Y: z}}", `^AdditionalRequestHeaders\[X\]: a map is not allowed, must be text`},
		"duration, no unit":    {"ConnectionTimeout: 3", `^ConnectionTimeout: 3 is not allowed, must be a duration with its unit, as in`},
		"no duration":          {"ConnectionTimeout: soon", `^ConnectionTimeout: "soon" is not allowed, must be a duration`},
		"no size":              {"RingSize: 64kilo", `^RingSize: "64kilo" is not allowed, must be a size in bytes, as in`},
		"size too long":        {"MaxBodySize: 9999999999GiB", `^MaxBodySize: "9999999999GiB" is not allowed, must be a size`},

		"duration of ages":     {"ConnectionTimeout: 9223372036854775807ns", `^ConnectionTimeout: 2562047h47m16\.854775807s is not allowed, must be at most 8760h \(a year\)$`},
		"duration, too long":   {"ShutdownDelay: 99999999999h", `^ShutdownDelay: "99999999999h" is not allowed, must be at most 8760h \(a year\)$`},
		"hedge after ages":     {"HedgeAfter: 2000000h", `^HedgeAfter: "2000000h" is not allowed, must be off, p95, or a time`},
		"whole number as part": {"HedgeBudget: 5", `^HedgeBudget: 5\.0 is not allowed, must be from 0 to 1`},
		"map for text":         {"Domains: [{name: a}]", `^Domains\[0\]: a map is not allowed, must be text$`},
		"dash without space":   {"Domains:\n  -s3.example.com", `^Domains: "-s3.example.com" is not allowed, must be a list: a space is missing after the dash$`},
		"number for weights":   {"ReadFrom: 5", `^ReadFrom: 5 is not allowed, must be a map, as in {NAME: VALUE}$`},
		"levels in one key":    {"TLS.Backends.CAFile: x", `^TLS\.Backends\.CAFile: unknown key; keys are nested: CAFile stands below TLS\.Backends, indented$`},
		"line break in a path": {`DataDir: "/tmp/a\nb"`, `^DataDir: "/tmp/a\\nb" is not allowed, must be a directory`},

		"negative timeout":     {"ConnectionTimeout: -3s\nStallTimeout: 1s", `^ConnectionTimeout: -3s is not allowed, must be longer than 0s$`},
		"no dial timeout":      {"ConnectionDialTimeout: 0s", `^ConnectionDialTimeout: 0s is not allowed, must be longer than 0s$`},
		"negative stall":       {"StallTimeout: -1ms", `^StallTimeout: -1ms is not allowed, must be 0s or longer$`},
		"negative shutdown":    {"ShutdownTimeout: -1s", `^ShutdownTimeout: -1s is not allowed, must be 0s or longer$`},
		"fewer connections":    {"ConnLimit: 1", `^ConnLimit: 1 is not allowed, must be from 2 to 1000000, and at least the number of backends$`},
		"negative failures":    {"FailureLimit: -1", `^FailureLimit: -1 is not allowed, must be from 0 to`},
		"small ring":           {"RingSize: 4KiB", `^RingSize: 4KiB is not allowed, must be from 16KiB to 64MiB$`},
		"large ring":           {"RingSize: 65MiB", `^RingSize: 65MiB is not allowed, must be from 16KiB to 64MiB$`},
		"negative body":        {"MaxBodySize: -1", `^MaxBodySize: -1 is not allowed, must be at least 0 \(0 is no limit\)$`},
		"small header":         {"MaxHeaderSize: 1KiB", `^MaxHeaderSize: 1KiB is not allowed, must be from 4KiB to 1MiB$`},
		"fast clients":         {"MinClientRate: 2MiB", `^MinClientRate: 2MiB is not allowed, must be from 0 to 1MiB \(0 is off\)$`},
		"slow clients":         {"MinClientRate: -1", `^MinClientRate: -1 is not allowed, must be from 0 to`},
		"no requests":          {"MaxConcurrentRequests: 0", `^MaxConcurrentRequests: 0 is not allowed, must be from 1 to`},
		"congestion control":   {"CongestionControl: BBR", `^CongestionControl: "BBR" is not allowed, must be auto, system, or an algorithm's name, as in cubic$`},
		"write ack":            {"WriteAck: All", `^WriteAck: "All" is not allowed, must be one of first, quorum, all$`},
		"method":               {"SyncLogMethods: [PUT, put]", `^SyncLogMethods\[1\]: "put" is not allowed, must be one of GET, HEAD,`},
		"maintained unknown":   {"MaintainedBackend: http://c", `^MaintainedBackend: "http://c" is not allowed, must be one of Backends$`},
		"maintained in list":   {"MaintainedBackend: [http://a, http://b:9000]", `^MaintainedBackend\[1\]: "http://b:9000" is not`},
		"all maintained":       {"MaintainedBackend: [http://a, https://b:9000]", `^MaintainedBackend: \["http://a" "https://b:9000"\] is not allowed, must be fewer`},
		"listen, no port":      {"Listen: localhost", `^Listen: "localhost" is not allowed, must be host:port, or :port for all addresses$`},
		"listen, bad port":     {"Listen: ':80800'", `^Listen: ":80800" is`},
		"listen, no host":      {"Listen: 'a b:80'", `^Listen: "a b:80" is`},
		"admin, no port":       {"AdminListen: ':'", `^AdminListen: ":" is not allowed, must be host:port`},
		"one address":          {"Listen: 127.0.0.1:80\nAdminListen: 127.0.0.1:80", `^AdminListen: "127.0.0.1:80" is not allowed, must be an address of its own: Listen has "127.0.0.1:80"$`},
		"address in all":       {"Listen: ':80'\nAdminListen: 127.0.0.1:80", `^AdminListen: "127.0.0.1:80" is not`},
		"all with address":     {"Listen: localhost:80\nAdminListen: '[::]:80'", `^AdminListen: "\[::\]:80" is not`},
		"domain with scheme":   {"Domains: [http://s3.example.com]", `^Domains\[0\]: "http://s3.example.com" is not allowed, must be a plain host name`},
		"domain with port":     {"Domains: [ok, 's3:80']", `^Domains\[1\]: "s3:80" is`},
		"domain with dot":      {"Domains: [.s3]", `^Domains\[0\]: ".s3" is`},
		"admin host and port":  {"AdminHosts: [ok, 'akubra:80']", `^AdminHosts\[1\]: "akubra:80" is not allowed, must be a plain host name`},
		"address as domain":    {"Domains: [127.0.0.1]", `^Domains\[0\]: "127.0.0.1" is`},
		"header name":          {"AdditionalRequestHeaders: {'X Y': z}", `^AdditionalRequestHeaders\[X Y\]: "X Y" is not allowed, must be a header's name`},
		"no header name":       {"AdditionalRequestHeaders: {'': z}", `^AdditionalRequestHeaders\[\]: "" is not allowed, must be a header's name`},
		"header line break":    {`AdditionalResponseHeaders: {X: "a\r\nY: b"}`, `^AdditionalResponseHeaders\[X\]: "a\\r\\nY: b" is not allowed, must be a header's value`},
		"header space":         {"AdditionalResponseHeaders: {X: ' a'}", `^AdditionalResponseHeaders\[X\]: " a" is`},
		"hop-by-hop header":    {"AdditionalRequestHeaders: {transfer-Encoding: x}", `^AdditionalRequestHeaders\[transfer-Encoding\]: "transfer-Encoding" is not allowed, must be another header`},
		"host header":          {"AdditionalRequestHeaders: {Host: x}", `^AdditionalRequestHeaders\[Host\]: `},
		"length header":        {"AdditionalResponseHeaders: {Content-Length: 5}", `^AdditionalResponseHeaders\[Content-Length\]: `},
		"one header twice":     {"AdditionalRequestHeaders: {X-A: 1, x-a: 2}", `^AdditionalRequestHeaders\[x-a\]: "x-a" is not allowed, must be another header than X-A$`},
		"level":                {"Logging: {Accesslog: {Level: loud}}", `^Logging\.Accesslog\.Level: "loud" is not allowed, must be one of trace, debug,`},
		"durability":           {"Durability: Power", `^Durability: "Power" is not allowed, must be one of process, power$`},
		"on journal error":     {"OnJournalError: ignore", `^OnJournalError: "ignore" is not allowed, must be one of refuse, continue$`},
		"no data directory":    {"DataDir: ''", `^DataDir: "" is not allowed, must be a directory`},
		"no repairers":         {"Repair: {Concurrency: 0}", `^Repair.Concurrency: 0 is not allowed, must be from 1 to 256, or auto$`},
		"negative rate":        {"Repair: {ObjectsPerSecond: -0.5}", `^Repair.ObjectsPerSecond: -0.5 is not allowed, must be from 0 to 1000000 \(0 is no limit\)$`},
		"rate as text":         {"Repair: {ObjectsPerSecond: fast}", `^Repair.ObjectsPerSecond: "fast" is not allowed, must be a number$`},
		"rate no number":       {"Repair: {ObjectsPerSecond: .nan}", `^Repair.ObjectsPerSecond: NaN is not allowed, must be from 0`},
		"negative bytes":       {"Repair: {BytesPerSecond: -1}", `^Repair.BytesPerSecond: -1 is not allowed, must be at least 0 \(0 is no limit\)$`},
		"repairers as text":    {"Repair: {Concurrency: many}", `^Repair.Concurrency: "many" is not allowed, must be from 1 to 256, or auto$`},
		"bytes as text":        {"Repair: {BytesPerSecond: fast}", `^Repair.BytesPerSecond: "fast" is not allowed, must be a size in bytes, as in 1MB, or a map of sizes by backend$`},
		"bytes of nobody":      {"Repair: {BytesPerSecond: {'http://x': 5}}", `^Repair.BytesPerSecond\[http://x\]: 5 is not allowed, must be the rate of one of Backends, or of the default$`},
		"negative bytes of":    {"Repair: {BytesPerSecond: {default: 7, 'http://a': -1}}", `^Repair.BytesPerSecond\[http://a\]: -1 is not allowed, must be at least 0`},
		"bytes of one as text": {"Repair: {BytesPerSecond: {default: fast}}", `^Repair.BytesPerSecond\[default\]: "fast" is not allowed, must be a size in bytes`},
		"no tries":             {"Repair: {MaxTries: 0}", `^Repair.MaxTries: 0 is not allowed, must be from 1 to`},
		"facility":             {"Logging: {Synclog: {Syslog: local9}}", `^Logging\.Synclog\.Syslog: "local9" is not allowed, must be empty or a facility`},
		"R15 synclog nowhere":  {"Logging: {Synclog: {Stderr: false}}", `^Logging\.Synclog: must go to Stdout, Stderr, File or Syslog`},
		"second document":      {"---\nListen: ':80'", `^line 2: cannot parse YAML: a second YAML document begins here`},
		"key twice":            {"Listen: ':80'\nListen: ':81'", `^line 3: cannot parse YAML: mapping key "Listen" already defined at line 2$`},
		"empty key":            {"TLS: {'': 5}", `^TLS\."": unknown key`},
		"null key":             {"TLS: {~: 5}", `^TLS\.~: unknown key`},
		"indentation":          {"Logging:\n  Mainlog:\n    Level: info\n   File: x", `^line 5: cannot parse YAML: did not find expected key; the line is not indented like`},
		"open bracket":         {"Domains: [a\nListen: ':80'", `^line 2: cannot parse YAML: did not find expected ',' or ']'; a bracket is not closed, or a comma is missing$`},
		"at sign":              {"Domains: @a", `^line 2: .*; text that begins with @, % or .+ must be in quotes$`},
		"star":                 {"Domains: [*.example.com]", `^line 2: .*; text that begins with \*.* must be in quotes$`},
		"star alone":           {"Domains: *x", `^line 2: .*; text that begins with \* must be in quotes$`},
		"open quote":           {"Domains: [\"a]", `^line 2: .*; a quote is not closed$`},
		"no map":               {"- Listen", `^line 2: cannot parse YAML: did not find expected key; the line is not indented like`},
		"map as key":           {"{a: b}: c", `^line 2: cannot parse YAML: cannot unmarshal !!map into string$`},
		"syntax":               {"Listen: ':80'\nConnLimit: 5: 6", `^line 3: cannot parse YAML: mapping values are not allowed`},
	} {
		t.Run(name, func(t *testing.T) {
			lines := configMistakes(t, twoBackends+tc.yaml)
			if len(lines) != 1 || !regexp.MustCompile(tc.want).MatchString(lines[0]) {
				t.Errorf("mistakes:\n%s\nnot one that matches %s", strings.Join(lines, "\n"), tc.want)
			}
		})
	}
}

func TestR21Backends(t *testing.T) {
	const allowed = " is not allowed, must be http://HOST[:PORT] or https://HOST[:PORT]: "
	for name, tc := range map[string]struct {
		yaml string
		want []string
	}{
		"missing":      {"", []string{`Backends: none is set, must be a list of 1 to 64 URLs`}},
		"empty":        {"Backends: []\nMaintainedBackend: http://a", []string{`Backends: none is set, must be a list of 1 to 64 URLs`}},
		"wrong key":    {"backends: [http://a]", []string{`backends: unknown key, the nearest known one is Backends`}},
		"wrong type":   {"Backends: http://a", []string{`Backends: "http://a" is not allowed, must be a list`}},
		"wrong kind":   {"Backends: [http://a, 5]", []string{`Backends[1]: "5"` + allowed + "it has no scheme, as in http://5 or https://5"}},
		"no element":   {"Backends: [http://a, ]\nConnLimit: 1", nil},
		"null":         {"Backends:\n- http://a\n-", []string{`Backends[1]: ""` + allowed + "it is empty"}},
		"other scheme": {"Backends: [ftp://a]", []string{`Backends[0]: "ftp://a"` + allowed + "the scheme is neither http nor https"}},
		"no scheme":    {"Backends: ['a:80']", []string{`Backends[0]: "a:80"` + allowed + "it has no scheme, as in http://a:80 or https://a:80"}},
		"no host":      {"Backends: ['http://:80']", []string{`Backends[0]: "http://:80"` + allowed + "the host is neither a host name nor an IP address"}},
		"bad host":     {"Backends: ['http://a;b']", []string{`Backends[0]: "http://a;b"` + allowed + "the host is neither a host name nor an IP address"}},
		"two in one":   {"Backends: ['http://a,http://b:9000']", []string{`Backends[0]: "http://a,http://b:9000"` + allowed + "a comma is not allowed; each backend is an element of the list"}},
		"space":        {"Backends: [' http://a:9000']", []string{`Backends[0]: " http://a:9000"` + allowed + "a space is not allowed"}},
		"bare IPv6":    {"Backends: ['http://::1:9000']", []string{`Backends[0]: "http://::1:9000"` + allowed + "an IPv6 address stands in brackets, as in http://[::1]:9000"}},
		"IPv6 alone":   {"Backends: ['2001:db8::7']", []string{`Backends[0]: "2001:db8::7"` + allowed + "an IPv6 address stands in brackets, as in http://[::1]:9000"}},
		"octal port":   {"Backends: ['http://a:09000']", []string{`Backends[0]: "http://a:09000"` + allowed + "the port is not from 1 to 65535, in decimal digits, without leading zeros and underscores"}},
		"one slash":    {"Backends: ['http:/a']", []string{`Backends[0]: "http:/a"` + allowed + "it has no host; two slashes come before it"}},
		"path":         {"Backends: [http://a/b]", []string{`Backends[0]: "http://a/b"` + allowed + "a path is not allowed"}},
		"query":        {"Backends: ['http://a?']", []string{`Backends[0]: "http://a?"` + allowed + "a query is not allowed"}},
		"fragment":     {"Backends: ['http://a#']", []string{`Backends[0]: "http://a#"` + allowed + "a fragment is not allowed"}},
		"password":     {"Backends: ['http://me:secret@a']", []string{`Backends[0]: "http://…@a"` + allowed + "a user name and password are not allowed"}},
		"odd host":     {"Backends: ['http://%zz']", []string{`Backends[0]: "http://%zz"` + allowed + `invalid URL escape "%zz"`}},
		"odd password": {"Backends: ['http://me:%zz@a']", []string{`Backends[0]: "http://…@a"` + allowed + "it is not a URL"}},
		"port 0":       {"Backends: ['http://a:0']", []string{`Backends[0]: "http://a:0"` + allowed + "the port is not from 1 to 65535"}},
		"empty port":   {"Backends: ['http://a:']", []string{`Backends[0]: "http://a:"` + allowed + "the port is not from 1 to 65535"}},
		"short host":   {"Backends: ['http://127.1']", []string{`Backends[0]: "http://127.1"` + allowed + "the host is neither a host name nor an IP address"}},
		"loopback": {"Backends: ['http://localhost:9000', 'http://127.0.0.1:9000', 'http://[::1]:9000']", []string{
			`Backends[1]: "http://127.0.0.1:9000" is not allowed, must be another backend than Backends[0]: both have the same address`,
			`Backends[2]: "http://[::1]:9000" is not allowed, must be another backend than Backends[1]: both have the same address`}},
		"own address": {"Listen: ':9000'\nBackends: ['http://localhost:9000']", []string{
			`Backends[0]: "http://localhost:9000" is not allowed, must be another address than the proxy's own: Listen has ":9000"`}},
		"own admin": {"Backends: ['http://localhost:8071']", []string{
			`Backends[0]: "http://localhost:8071" is not allowed, must be another address than the proxy's own: AdminListen has "127.0.0.1:8071"`}},
		"twice":    {"Backends: [http://a, http://b, 'http://A:80/']", []string{`Backends[2]: "http://A:80/" is not allowed, must be another backend than Backends[0]: both have the same address`}},
		"one name": {"Backends: [http://a, https://a]", []string{`Backends[1]: "https://a" is not allowed, must be another backend than Backends[0]: both have the same name`}},
	} {
		t.Run(name, func(t *testing.T) {
			wantMistakes(t, configMistakes(t, tc.yaml), tc.want)
		})
	}
	t.Run("too many", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("Backends:\n")
		for i := range 65 {
			b.WriteString("- http://a" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + "\n")
		}
		lines := configMistakes(t, b.String())
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "Backends: 65 of them are too many, ") || !strings.HasSuffix(lines[0], "must be a list of 1 to 64 URLs") || len(lines[0]) > 300 {
			t.Errorf("mistakes: %q", lines)
		}
	})
}

// R21: all mistakes are reported at once, and none that merely follow from others.
func TestR21AllMistakes(t *testing.T) {
	got := configMistakes(t, `
Lisen: ":80"
Backends: [http://a, ftp://b, 7]
ConnLimit: many
WriteAck: some
RingSize: 1
TLS: {CertFile: testdata/none.pem, Keyfil: x}
Logging: {Mainlog: {Stdout: 1, Level: loud}}
`, "AKUBRA_CONLIMIT=5", "AKUBRA_FAILURELIMIT=-2", "PATH=/bin")
	wantMistakes(t, got, []string{
		`AKUBRA_CONLIMIT: unknown variable, the nearest known one is AKUBRA_CONNLIMIT`,
		`ConnLimit: "many" is not allowed, must be a whole number`,
		`Lisen: unknown key, the nearest known one is Listen`,
		`Logging.Mainlog.Stdout: 1 is not allowed, must be true or false`,
		`TLS.Keyfil: unknown key, the nearest known one is TLS.KeyFile`,
		`Backends[1]: "ftp://b" is not allowed, must be http://HOST[:PORT] or https://HOST[:PORT]: the scheme is neither http nor https`,
		`Backends[2]: "7" is not allowed, must be http://HOST[:PORT] or https://HOST[:PORT]: it has no scheme, as in http://7 or https://7`,
		`WriteAck: "some" is not allowed, must be one of first, quorum, all`,
		`RingSize: 1 is not allowed, must be from 16KiB to 64MiB`,
		`FailureLimit (from AKUBRA_FAILURELIMIT): -2 is not allowed, must be from 0 to 1000000 (0 is off)`,
		`TLS.CertFile: "testdata/none.pem" is not allowed, must be a PEM file: cannot read it: no such file or directory`,
		`Logging.Mainlog.Level: "loud" is not allowed, must be one of trace, debug, info, warn, error, disabled`,
	})
}

func TestConfigEnvironment(t *testing.T) {
	c := mustParseConfig(t, twoBackends+"ConnLimit: 7\nAdditionalRequestHeaders: {X-A: file, X-B: file}",
		"AKUBRA_CONNLIMIT=5",
		"AKUBRA_LOGGING_MAINLOG_LEVEL=debug",
		"AKUBRA_logging_Mainlog_stdout=TRUE",
		"AKUBRA_BACKENDS=http://c, http://d:9000,http://e",
		"AKUBRA_MAINTAINEDBACKEND=http://d:9000",
		"AKUBRA_RINGSIZE=1MiB",
		"AKUBRA_CONNECTIONTIMEOUT=7s",
		"AKUBRA_ADMINLISTEN=",
		"AKUBRA_ADDITIONALREQUESTHEADERS={X-B: 010, X-C: environment}",
		"AKUBRA_TLS_BACKENDS_INSECURESKIPVERIFY=1",
		"AKUBRA_SERVICE_HOST=10.0.0.1", "AKUBRA_PORT_8080_TCP_ADDR=10.0.0.1", "AKUBRA_ADMIN_SERVICE_PORT_HTTP=80", // Kubernetes
		"OTHER=1")
	want := Default()
	want.Backends = []string{"http://c", "http://d:9000", "http://e"}
	want.ConnLimit = 5
	want.AdditionalRequestHeaders = map[string]string{"X-A": "file", "X-B": "010", "X-C": "environment"}
	want.ConnectionTimeout = 7 * time.Second
	want.MaintainedBackend = oneOrMany{"http://d:9000"}
	want.RingSize = 1 << 20
	want.AdminListen = ""
	want.TLS.Backends.InsecureSkipVerify = true
	want.Logging.Mainlog = LogOutput{Stdout: true, Stderr: true, Level: "debug"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if mask := c.MaintainedMask(); mask != 0b010 {
		t.Errorf("maintainedMask = %b", mask)
	}
}

func TestR21EnvironmentMistakes(t *testing.T) {
	for name, tc := range map[string]struct{ variable, want string }{
		"no number":   {"AKUBRA_CONNLIMIT=many", `ConnLimit (from AKUBRA_CONNLIMIT): "many" is not allowed, must be a whole number`},
		"no value":    {"AKUBRA_CONNLIMIT=", `ConnLimit (from AKUBRA_CONNLIMIT): "" is not allowed, must be a whole number`},
		"no switch":   {"AKUBRA_COMPAREETAGS=perhaps", `CompareETags (from AKUBRA_COMPAREETAGS): "perhaps" is not allowed, must be true or false`},
		"in a list":   {"AKUBRA_SYNCLOGMETHODS=PUT,PAT", `SyncLogMethods[1] (from AKUBRA_SYNCLOGMETHODS): "PAT" is not allowed, must be one of GET, HEAD, PUT, POST, DELETE, OPTIONS`},
		"no headers":  {"AKUBRA_ADDITIONALREQUESTHEADERS=X: [1]", `AdditionalRequestHeaders (from AKUBRA_ADDITIONALREQUESTHEADERS): "X: [1]" is not allowed, must be a map, as in {NAME: VALUE}`},
		"a header":    {"AKUBRA_ADDITIONALREQUESTHEADERS={TE: x}", `AdditionalRequestHeaders[TE] (from AKUBRA_ADDITIONALREQUESTHEADERS): "TE" is not allowed, must be another header: this one is the proxy's own`},
		"unknown":     {"AKUBRA_LOGGING_MAINLOG_LEVELS=x", `AKUBRA_LOGGING_MAINLOG_LEVELS: unknown variable, the nearest known one is AKUBRA_LOGGING_MAINLOG_LEVEL`},
		"no variable": {"AKUBRA_TLS=x", `AKUBRA_TLS: unknown variable, the nearest known one is AKUBRA_TLS_CERTFILE`},
	} {
		t.Run(name, func(t *testing.T) {
			wantMistakes(t, configMistakes(t, twoBackends, tc.variable), []string{tc.want})
		})
	}
	t.Run("twice", func(t *testing.T) {
		wantMistakes(t, configMistakes(t, twoBackends, "AKUBRA_CONNLIMIT=5", "AKUBRA_ConnLimit=6"),
			[]string{"AKUBRA_ConnLimit: AKUBRA_CONNLIMIT is the same variable, only one is allowed"})
	})
}

func TestR21File(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "akubra.yaml")
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), "cannot read configuration") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.HasPrefix(err.Error(), "cannot read configuration") {
		t.Errorf("a directory: %v", err)
	}
	testkit.MustDo(t, os.WriteFile(path, []byte("Listen: ':80'\nWriteAck: all\n  WriteAck: all\n"), 0o600))
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":3: cannot parse YAML: ") {
		t.Errorf("wrong YAML: %v", err)
	}
	if lines := configMistakes(t, "- Listen"); len(lines) != 1 || lines[0] != "line 1: cannot parse YAML: the configuration must be a map of keys" {
		t.Errorf("a list: %q", lines)
	}
	long := strings.Repeat("#\n", 3000) + "a: b\n c: d\n" // too long to search for the line
	if lines := configMistakes(t, long); len(lines) != 1 || lines[0] != "line 3002: cannot parse YAML: mapping values are not allowed in this context; text that contains a colon and a space must be in quotes" {
		t.Errorf("long: %q", lines)
	}
	big := []byte(strings.Repeat("#", MaxSize+1))
	if _, err := Parse(big, nil); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("too large: %v", err)
	}
}

// YAML whose aliases would grow to gigabytes must neither use that much memory nor crash.
func TestConfigAliases(t *testing.T) {
	text := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'k'; c++ {
		prev := "*" + string(c-1)
		text += string(c) + ": &" + string(c) + " [" + strings.Repeat(prev+",", 9) + "]\n"
	}
	if lines := configMistakes(t, text); len(lines) != 1 || !strings.Contains(lines[0], "aliasing") {
		t.Errorf("mistakes: %q", lines)
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, path := range []string{examplePath, filepath.Join("testdata", "original.yaml")} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "")
	}
	f.Add([]byte("1: 2\n? [a]\n: b\n<<: {Listen: 1}\n"), "AKUBRA_TLS=\x00")
	f.Add([]byte("Backends: &a [http://x]\nMaintainedBackend: *a\nTLS: {Backends: }\n"), "AKUBRA_BACKENDS=http://y,,")
	f.Add([]byte("\"Logging\\0Mainlog\": 1\nAdditionalRequestHeaders: &h {X: 1, <<: *h}\n"), "AKUBRA_ADDITIONALRESPONSEHEADERS={X: y}")
	f.Fuzz(func(t *testing.T, text []byte, variable string) {
		c, err := Parse(text, []string{variable})
		if err == nil {
			if len(c.BackendURLs()) != len(c.Backends) || c.MaintainedMask() == 1<<len(c.Backends)-1 {
				t.Errorf("backends %q, maintained %q", c.Backends, c.MaintainedBackend)
			}
			return
		}
		lines, ok := errors.AsType[Errors](err)
		if !ok || len(lines) == 0 {
			t.Fatalf("error %T %v", err, err)
		}
		for _, line := range lines {
			if strings.ContainsAny(line, "\r\n") || line == "" {
				t.Errorf("mistake %q", line)
			}
		}
	})
}

func TestR28PrimaryRules(t *testing.T) {
	c := Default()
	c.Backends = []string{"http://a:9000", "https://b"}
	c.Primary = oneOrMany{"logs-*=https://b:443", "http://a:9000"}
	testkit.MustDo(t, c.Complete())
	want := []PrimaryRule{{"logs-*", 1}, {"", 0}}
	if got := c.PrimaryRules(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, wrong := range []string{"http://other:9000", "=http://a:9000", "[=http://a:9000", "logs-*", "x=", ""} {
		c.Primary = oneOrMany{wrong}
		if err := c.Complete(); err == nil || !strings.Contains(err.Error(), "Primary: ") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestRepairRates: what is written without a map is for each backend, and a map says by backend.
func TestRepairRates(t *testing.T) {
	const two = "Backends: ['http://a', 'http://b:9000']\nRepair: {BytesPerSecond: "
	for value, want := range map[string][]int64{
		"0":                                   {0, 0},
		"1MiB":                                {1 << 20, 1 << 20},
		"65536":                               {65536, 65536},
		"{}":                                  {0, 0},
		"{default: 5}":                        {5, 5},
		"{'http://b:9000': 7KiB}":             {0, 7 << 10},
		"{default: 5, 'http://A:80/': 0}":     {0, 5},
		"{'http://a': 1, 'http://b:9000': 2}": {1, 2},
	} {
		c, err := Parse([]byte(two+value+"}\n"), nil)
		if err != nil {
			t.Errorf("%s: %v", value, err)
		} else if got := c.BytesPerSecond(); !slices.Equal(got, want) {
			t.Errorf("%s: %d instead of %d", value, got, want)
		}
	}
	for value, want := range map[string][]int64{"3MB": {3e6, 3e6}, "{'http://b:9000': 9}": {0, 9}, "12": {12, 12}} {
		c, err := Parse([]byte("Backends: ['http://a', 'http://b:9000']\n"), []string{"AKUBRA_REPAIR_BYTESPERSECOND=" + value})
		if err != nil {
			t.Errorf("%s in the environment: %v", value, err)
		} else if got := c.BytesPerSecond(); !slices.Equal(got, want) {
			t.Errorf("%s in the environment: %d instead of %d", value, got, want)
		}
	}
}
