package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// R21: a mistake in a file names its line in a form that editors understand.
func TestR21MistakesNameTheirLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "akubra.yaml")
	content := `# a comment
Backends:
  - http://a
  - ftp://b
Listen: 8080
MaxBodySiz: x
Logging:
  Mainlog:
    Level: loud
    Stdout: 1
AdditionalRequestHeaders:
  X-A: b
  Host: c
TLS: {CertFile: none.pem}
BackendCredentials:
  - Backend: http://a
    AccessKey: alone
`
	testkit.MustDo(t, os.WriteFile(path, []byte(content), 0o600))
	_, err := Load(path)
	if err == nil {
		t.Fatal("it is valid")
	}
	want := []string{
		":4: Backends[1]: ", ":5: Listen: ", ":6: MaxBodySiz: ", ":9: Logging.Mainlog.Level: ", ":10: Logging.Mainlog.Stdout: ",
		":13: AdditionalRequestHeaders[Host]: ", ":14: TLS.KeyFile: ", ":14: TLS.CertFile: ", ":16: BackendCredentials[0].SecretKey: ",
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("mistakes:\n%v", err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, path+want[i]) {
			t.Errorf("mistake %q, want one at %s", line, want[i])
		}
	}
	_, mistakes := CheckText([]byte("Backends: [http://a]\nWriteAck: some\n"))
	wantMistakes(t, mistakes, []string{`line 2: WriteAck: "some" is not allowed, must be one of first, quorum, all`})
}

// R21: a mistake that a merge key brings in names the line where it is written.
func TestR21MistakesInMerges(t *testing.T) {
	_, mistakes := CheckText([]byte(`Backends: [http://a, http://b]
Logging:
  Synclog: &log
    Level: info
    Stderr: true
    Colour: red
  Accesslog:
    <<: *log
    Level: loud
<<:
  - ConnLimit: 010
    Listne: x
  - {ConnLimit: 20, FailureLimit: -1}
`))
	wantMistakes(t, mistakes, []string{
		"line 6: Logging.Accesslog.Colour: unknown key, and no known one is similar; known keys are Stdout, Stderr, File, Syslog, Level",
		"line 6: Logging.Synclog.Colour: unknown key, and no known one is similar; known keys are Stdout, Stderr, File, Syslog, Level",
		`line 9: Logging.Accesslog.Level: "loud" is not allowed, must be one of trace, debug, info, warn, error, disabled`,
		`line 11: ConnLimit: "010" is not allowed, must be a whole number, in decimal digits, without leading zeros and underscores`,
		"line 12: Listne: unknown key, the nearest known one is Listen",
		"line 13: FailureLimit: -1 is not allowed, must be from 0 to 1000000 (0 is off)",
	})
}

// R21: an unknown key names another one only if that one may have been meant.
func TestR21NearKeys(t *testing.T) {
	for name, want := range map[string]string{
		"Listne":              "Listen",
		"Backend":             "Backends",
		"backendcredentials":  "BackendCredentials",
		"ConnectionTimeouts":  "ConnectionTimeout",
		"Level":               "Logging.Synclog.Level",
		"Sync":                "SyncLogMethods",
		"Password":            "",
		"Replicas":            "",
		"x":                   "",
		"Storages":            "",
		"TLS.Certificate":     "",
		"TLS.Password":        "",
		"Repair.Concurency":   "Repair.Concurrency",
		"Logging.Mainlog.Fil": "Logging.Mainlog.File",
	} {
		yaml := name + ": 1\n"
		if list := strings.Split(name, "."); len(list) > 1 {
			yaml = strings.Join(list, ": {") + ": 1" + strings.Repeat("}", len(list)-1) + "\n"
		}
		lines := configMistakes(t, twoBackends+yaml)
		if len(lines) != 1 {
			t.Errorf("%s: %q", name, lines)
			continue
		}
		_, near, named := strings.Cut(lines[0], "the nearest known one is ")
		if near != want || named != (want != "") || !strings.HasPrefix(lines[0], name+": unknown key, ") {
			t.Errorf("%s: %q, want %q", name, lines[0], want)
		}
	}
	lines := configMistakes(t, twoBackends, "AKUBRA_PASSWORD=x")
	wantMistakes(t, lines, []string{"AKUBRA_PASSWORD: unknown variable, and no known one is similar; a variable is AKUBRA_ followed by a key in capitals, with _ between levels"})
}

// R21: text that somebody expects to be expanded is refused, not taken literally.
func TestR21Placeholders(t *testing.T) {
	for _, yaml := range []string{
		"DataDir: ~/akubra", "DataDir: '~'", "DataDir: ${HOME}/akubra", "DataDir: $HOME/akubra", "DataDir: /var/$NAME",
		"DataDir: file:///var/akubra", "DataDir: ~akubra/data", "DataDir: '{{ data }}'", "Listen: ${HOST}:80", "Domains: ['${DOMAIN}']",
		"Credentials: {AccessKey: '${KEY}', SecretKey: x}", "Credentials: {AccessKey: x, SecretKey: '${SECRET}'}",
		"Credentials: {AccessKey: x, SecretKey: $SECRET}", "Logging: {Mainlog: {File: ~/main.log}}",
		"TLS: {Backends: {CAFile: ~/ca.pem}}", "AdditionalRequestHeaders: {X: '${VALUE}'}",
		"BackendCredentials: [{Backend: http://a, AccessKey: '${KEY}', SecretKey: x}]",
	} {
		lines := configMistakes(t, twoBackends+yaml)
		if len(lines) != 1 || !strings.Contains(lines[0], "must be written out: ") || strings.Contains(lines[0], "SECRET") {
			t.Errorf("%s: %q", yaml, lines)
		}
	}
	for _, yaml := range []string{
		"Credentials: {AccessKey: x, SecretKey: 'a${b}c$DE~'}", "DataDir: ./a~b/$", "DataDir: ./cost$5",
	} {
		if lines := configMistakes(t, twoBackends+yaml); lines != nil {
			t.Errorf("%s: %q", yaml, lines)
		}
	}
}

// R21: the most common slips in YAML are explained in words, not in tokens.
func TestR21YAMLSlips(t *testing.T) {
	for yaml, want := range map[string]string{
		"Logging:\n\tMainlog:\n\t\tLevel: info":       "line 3: cannot parse YAML: the line is indented with a tab; YAML allows only spaces",
		"Logging:\n  Mainlog:\n  \tLevel: info":       "line 4: cannot parse YAML: the line is indented with a tab; YAML allows only spaces",
		"ConnLimit:5":                                 "line 2: cannot parse YAML: a space is missing after the colon of \"ConnLimit\"",
		"ConnLimit:5\nListen: ':80'":                  "line 2: cannot parse YAML: a space is missing after the colon of \"ConnLimit\"",
		"TLS:\n  CertFile: a\n  KeyFile:b\nListen: :": "line 4: cannot parse YAML: a space is missing after the colon of \"KeyFile\"",
	} {
		lines := configMistakes(t, twoBackends+yaml)
		if len(lines) != 1 || lines[0] != want {
			t.Errorf("%q: %q, want %q", yaml, lines, want)
		}
	}
}

// R21: a number that some read as octal, and other notations, are refused with their line, not
// taken for another number.
func TestR21NumbersInOtherNotations(t *testing.T) {
	const hint = ", in decimal digits, without leading zeros and underscores"
	keys := map[string][]string{
		"ConnLimit: %s":                           {"010", "-010", "0x10", "0o10", "0b11", "1_000", "08"},
		"HedgeBudget: %s":                         {"01", "00.5", "0x1", "0b1", "0_0.5"},
		"MaxBodySize: %s":                         {"010", "0x10", "0o10", "0b11", "1_000", "010KiB", "0x10KiB", "1_000KB", "010 MB"},
		"StallTimeout: %s":                        {"010s", "1m010s", "0x10s", "1_000ms", "010", "0x0"},
		"HedgeAfter: %s":                          {"010ms", "0x10ms"},
		"ReadFrom: {'http://a': %s}":              {"010", "0x10", "1_0"},
		"Repair: {Concurrency: %s}":               {"010", "0x10", "1_0"},
		"Repair: {BytesPerSecond: %s}":            {"010", "0x10", "1_000", "010MB"},
		"Repair: {BytesPerSecond: {default: %s}}": {"010", "0x10", "1_000", "010MB"},
	}
	for key, numbers := range keys {
		for _, number := range numbers {
			yaml := strings.ReplaceAll(key, "%s", number)
			_, mistakes := CheckText([]byte(twoBackends + yaml + "\n"))
			if len(mistakes) != 1 || !strings.HasPrefix(mistakes[0], "line 2: ") ||
				!strings.Contains(mistakes[0], number) || !strings.HasSuffix(mistakes[0], hint) {
				t.Errorf("%s: %q", yaml, mistakes)
			}
		}
	}
	for _, variable := range []string{"AKUBRA_CONNLIMIT=010", "AKUBRA_HEDGEBUDGET=00.5", "AKUBRA_MAXBODYSIZE=010", "AKUBRA_STALLTIMEOUT=010s"} {
		if lines := configMistakes(t, twoBackends, variable); len(lines) != 1 || !strings.HasSuffix(lines[0], hint) {
			t.Errorf("%s: %q", variable, lines)
		}
	}
	for _, yaml := range []string{
		"Listen: ':08080'", "AdminListen: 127.0.0.1:08071", "MaintainedBackend: http://a:080", // another spelling of one port
		"ConnLimit: 1e3", "ConnLimit: 1.0",
	} {
		if lines := configMistakes(t, twoBackends+yaml); len(lines) != 1 {
			t.Errorf("%s: %q", yaml, lines)
		}
	}
	for _, yaml := range []string{
		"ConnLimit: +10", "HedgeBudget: 5e-02", "HedgeBudget: .05", "HedgeBudget: 0.05", "MaxBodySize: 0B", "MaxBodySize: 0",
		"StallTimeout: 0", "StallTimeout: 0.05s", "StallTimeout: 1m0s", "StallTimeout: 1h0m0.5s", "HedgeAfter: 0.05s",
		"AdditionalRequestHeaders: {X-A: 010}", "Credentials: {AccessKey: 0x10, SecretKey: 1_000}", "DataDir: ./010",
		"ReadFrom: {'http://a': 0}",
	} {
		if lines := configMistakes(t, twoBackends+yaml); lines != nil {
			t.Errorf("%s: %q", yaml, lines)
		}
	}
}
