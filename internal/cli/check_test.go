package cli

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/testkit"
)

// mistake is a configuration that cannot work. DIR in it stands for the test's own directory, TAKEN
// for an address that somebody listens on, FREE for a port that nobody does.
type mistake struct {
	yaml string
	env  string // NAME=value, may be empty
	want string // part of what check says
}

// twoGood are valid backends to build configurations from.
const twoGood = "Backends: [http://one.example:9000, http://two.example:9000]\n"

var mistakesOfAll = []mistake{
	// YAML itself.
	{twoGood + "Logging:\n\tMainlog:\n", "", ":3: cannot parse YAML: the line is indented with a tab"},
	{twoGood + "ConnLimit:5\n", "", `:2: cannot parse YAML: a space is missing after the colon of "ConnLimit"`},
	{twoGood + "Listen: ':80'\nListen: ':81'\n", "", `:3: cannot parse YAML: mapping key "Listen" already defined`},
	{twoGood + "Domains: [a\n", "", "cannot parse YAML: "},
	{twoGood + "Logging:\n  Mainlog:\n    Level: info\n   File: x\n", "", ":5: cannot parse YAML: "},
	{twoGood + "---\nListen: ':80'\n", "", ":2: cannot parse YAML: a second YAML document begins here"},
	{"- http://one.example\n", "", "the configuration must be a map of keys"},
	{"just text\n", "", "the configuration must be a map of keys"},
	{"", "", "Backends: none is set"},
	{twoGood + "Listen: *nowhere\n", "", "cannot parse YAML: unknown anchor 'nowhere' referenced"},
	{twoGood + "Listen: ':80\n", "", "cannot parse YAML: "},
	{twoGood + "Listen: !!binary x\n", "", "Listen: "},
	{"Backends:\n- http://one.example\n - http://two.example\n", "", "Backends"},
	// Keys.
	{twoGood + "Listne: ':80'\n", "", ":2: Listne: unknown key, the nearest known one is Listen"},
	{twoGood + "listen: ':80'\n", "", ":2: listen: unknown key, the nearest known one is Listen"},
	{twoGood + "Password: x\n", "", ":2: Password: unknown key, and no known one is similar"},
	{twoGood + "TLS:\n  Cert: x\n", "", ":3: TLS.Cert: unknown key, the nearest known one is TLS.CertFile"},
	{twoGood + "Logging: {Mainlog: {Colour: true}}\n", "", "Logging.Mainlog.Colour: unknown key, and no known one is similar; known keys are Stdout"},
	{twoGood + "CertFile: DIR/cert.pem\n", "", ":2: CertFile: unknown key, the nearest known one is TLS.CertFile"},
	{twoGood + "BackendCredentials: [{Backend: http://one.example:9000, Key: x}]\n", "", "BackendCredentials[0].Key: unknown key"},
	{twoGood, "AKUBRA_CONLIMIT=5", "AKUBRA_CONLIMIT: unknown variable, the nearest known one is AKUBRA_CONNLIMIT"},
	{twoGood, "AKUBRA_CONNLIMIT=many", `ConnLimit (from AKUBRA_CONNLIMIT): "many" is not allowed`},
	{twoGood, "AKUBRA_TLS=on", "AKUBRA_TLS: unknown variable"},
	// Backends.
	{"Backends: http://one.example\n", "", "must be a list"},
	{"Backends: [one.example:9000]\n", "", "it has no scheme, as in http://one.example:9000 or https://one.example:9000"},
	{"Backends: ['10.0.0.1']\n", "", "it has no scheme"},
	{"Backends: [localhost:9000]\n", "", "it has no scheme"},
	{"Backends: [ftp://one.example]\n", "", "the scheme is neither http nor https"},
	{"Backends: [s3://bucket]\n", "", "the scheme is neither http nor https"},
	{"Backends: [http://one.example/bucket]\n", "", "a path is not allowed"},
	{"Backends: ['http://one.example?x=1']\n", "", "a query is not allowed"},
	{"Backends: ['http://me:hush@one.example']\n", "", "a user name and password are not allowed"},
	{"Backends: ['http://one.example:0']\n", "", "the port is not from 1 to 65535"},
	{"Backends: ['http://one.example:99999']\n", "", "the port is not from 1 to 65535"},
	{"Backends: ['http://']\n", "", "the host is neither a host name nor an IP address"},
	{"Backends: ['http://one example']\n", "", "is not allowed"},
	{"Backends: ['http://127.1:9000']\n", "", "the host is neither a host name nor an IP address"},
	{"Backends: ['http://10.0.0.256:9000']\n", "", "the host is neither a host name nor an IP address"},
	{"Backends: ['http://${HOST}:9000']\n", "", "variables are not expanded here"},
	{"Backends: [http://one.example, http://ONE.example:80]\n", "", "another backend than Backends[0]"},
	{"Backends: [http://one.example, https://one.example]\n", "", "another backend than Backends[0]"},
	{"Backends: ['http://localhost:9000', 'http://127.0.0.1:9000']\n", "", "another backend than Backends[0]"},
	{"Backends: ['http://[::1]:9000', 'http://127.0.0.1:9000']\n", "", "another backend than Backends[0]"},
	{"Backends: ['http://0.0.0.0:9000', 'http://localhost:9000']\n", "", "another backend than Backends[0]"},
	{"Backends: ['http://::1:9000']\n", "", "an IPv6 address stands in brackets"},
	{"Backends: ['http://one.example,http://two.example']\n", "", "a comma is not allowed"},
	{"Backends: [' http://one.example']\n", "", "a space is not allowed"},
	{"Backends: [http://one.example, ~]\n", "", ":1: Backends[1]: \"\" is not allowed"},
	{twoGood + "<<:\n  ConnLimit: x\n", "", ":3: ConnLimit: \"x\" is not allowed"},
	{"Backends: ['http://one.example.:9000']\n", "", "the host is neither a host name nor an IP address"},
	{"Listen: ':9000'\nBackends: ['http://localhost:9000']\n", "", "another address than the proxy's own: Listen"},
	{"Listen: 127.0.0.1:9000\nBackends: ['http://[::1]:9000']\n", "", "another address than the proxy's own: Listen"},
	{"Listen: '0.0.0.0:80'\nBackends: ['http://127.0.0.1']\n", "", "another address than the proxy's own: Listen"},
	{"Listen: 127.0.0.1:0\nAdminListen: 127.0.0.1:9000\nBackends: ['http://localhost:9000']\n", "", "another address than the proxy's own: AdminListen"},
	{twoGood + "MaintainedBackend: http://three.example\n", "", "must be one of Backends"},
	{twoGood + "MaintainedBackend: [http://one.example:9000, http://two.example:9000]\n", "", "must be fewer than all of Backends"},
	// Addresses.
	{twoGood + "Listen: 8080\n", "", `Listen: "8080" is not allowed, must be host:port, or :port for all addresses, as in ":8080"`},
	{twoGood + "Listen: localhost\n", "", "must be host:port"},
	{twoGood + "Listen: http://localhost:8080\n", "", "must be host:port"},
	{twoGood + "Listen: ':99999'\n", "", "must be host:port"},
	{twoGood + "AdminListen: 8071\n", "", `as in ":8071"`},
	{twoGood + "Listen: ':8071'\n", "", "an address of its own"},
	{twoGood + "Listen: TAKEN\n", "", `cannot listen (Listen: "`},
	{twoGood + "Listen: localhost:FREE\nAdminListen: 127.0.0.1:FREE\n", "", `cannot listen (AdminListen: "127.0.0.1:`},
	{twoGood + "Listen: 127.0.0.1:0\nAdminListen: TAKEN\n", "", `cannot listen (AdminListen: "`},
	{twoGood + "Listen: '203.0.113.7:0'\n", "", `cannot listen (Listen: "203.0.113.7:0")`},
	{twoGood + "AdminHosts: [akubra:80]\n", "", "a plain host name"},
	{twoGood + "Domains: [http://s3.example.com]\n", "", "a plain host name"},
	{twoGood + "Domains: s3.example.com\n", "", "must be a list"},
	// Numbers, durations, sizes, choices.
	{twoGood + "ConnLimit: 1\n", "", "at least the number of backends"},
	{twoGood + "ConnLimit: '100'\n", "", "must be a whole number"},
	{twoGood + "ConnLimit: 100.5\n", "", "must be a whole number"},
	{twoGood + "ConnectionTimeout: 30\n", "", "must be a duration with its unit"},
	{twoGood + "ConnectionTimeout: 30 seconds\n", "", "must be a duration with its unit"},
	{twoGood + "ConnectionDialTimeout: 0s\n", "", "must be longer than 0s"},
	{twoGood + "StallTimeout: -1s\n", "", "must be 0s or longer"},
	{twoGood + "ShutdownTimeout: -1s\n", "", "must be 0s or longer"},
	{twoGood + "RingSize: 1KiB\n", "", "must be from 16KiB to 64MiB"},
	{twoGood + "RingSize: 256 kilo\n", "", "must be a size in bytes"},
	{twoGood + "MaxBodySize: -1\n", "", "must be at least 0"},
	{twoGood + "MaxHeaderSize: 1KiB\n", "", "must be from 4KiB to 1MiB"},
	{twoGood + "MaxConcurrentRequests: 0\n", "", "must be from 1"},
	{twoGood + "MinClientRate: 2MiB\n", "", "must be from 0 to 1MiB"},
	{twoGood + "FailureLimit: -1\n", "", "must be from 0"},
	{twoGood + "WriteAck: 2\n", "", `WriteAck: "2" is not allowed, must be one of first, quorum, all`},
	{twoGood + "CompareETags: yes\n", "", "must be true or false"},
	{twoGood + "SyncLogMethods: [put]\n", "", "must be one of GET, HEAD"},
	{twoGood + "SyncLogMethods: [5]\n", "", `SyncLogMethods[0]: "5" is not allowed, must be one of GET`},
	{twoGood + "CongestionControl: nonsuch\n", "", `CongestionControl: "nonsuch" is not allowed, must be one that this system has`},
	{twoGood + "Durability: disk\n", "", "must be one of process, power"},
	{twoGood + "OnJournalError: ignore\n", "", "must be one of refuse, continue"},
	{twoGood + "AdditionalRequestHeaders: {Host: x}\n", "", "this one is the proxy's own"},
	{twoGood + "AdditionalRequestHeaders: {'X Y': x}\n", "", "a header's name"},
	{twoGood + "AdditionalResponseHeaders: {X: \"a\\nb\"}\n", "", "a header's value"},
	{twoGood + "Repair: {Concurrency: 0}\n", "", "must be from 1 to 256"},
	// Files, directories, keys.
	{twoGood + "TLS: {CertFile: DIR/cert.pem}\n", "", "the key of TLS.CertFile"},
	{twoGood + "TLS: {CertFile: DIR/cert.pem, KeyFile: DIR/none.pem}\n", "", "no such file or directory"},
	{twoGood + "TLS: {CertFile: DIR/cert.pem, KeyFile: DIR/other.key}\n", "", "the certificate to the key"},
	{twoGood + "TLS: {CertFile: DIR/key.pem, KeyFile: DIR/key.pem}\n", "", "the certificate to the key"},
	{twoGood + "TLS: {CertFile: DIR, KeyFile: DIR/key.pem}\n", "", "not a regular file"},
	{twoGood + "TLS: {Backends: {CAFile: DIR/file}}\n", "", "it contains no certificate"},
	{twoGood + "TLS: {Backends: {CAFile: ~/ca.pem}}\n", "", "~ is not expanded"},
	{twoGood + "TLS: {Backends: {ClientCertFile: DIR/cert.pem, ClientKeyFile: DIR/other.key}}\n", "", "the certificate to the key"},
	{twoGood + "DataDir: DIR/file\n", "", "is no directory"},
	{twoGood + "DataDir: DIR/file/data\n", "", "not a directory"},
	{twoGood + "DataDir: /proc/akubra\n", "", "must be a directory that the proxy can make and write to"},
	{twoGood + "DataDir: DIR/nowhere\n", "", "must be a directory that the proxy can make"},
	{twoGood + "DataDir: ''\n", "", "must be a directory"},
	{twoGood + "DataDir: $HOME/data\n", "", "variables are not expanded here"},
	{twoGood + "DataDir: DIR/open\n", "", "all users may write to"},
	{twoGood + "Logging: {Mainlog: {File: DIR/none/main.log}}\n", "", `Logging.Mainlog: cannot open log file "`},
	{twoGood + "Logging: {Accesslog: {File: DIR}}\n", "", "Logging.Accesslog: cannot open log file"},
	{twoGood + "Logging: {Synclog: {File: DIR/file/x.log}}\n", "", "Logging.Synclog: cannot open log file"},
	{twoGood + "Logging: {Synclog: {Stderr: false}}\n", "", "must go to Stdout, Stderr, File or Syslog"},
	{twoGood + "Logging: {Mainlog: {Level: 3}}\n", "", `Logging.Mainlog.Level: "3" is not allowed, must be one of trace`},
	{twoGood + "Logging: {Mainlog: {Syslog: local9}}\n", "", "empty or a facility"},
	{twoGood + "Credentials: {AccessKey: x}\n", "", "which is set"},
	{twoGood + "Credentials: {File: DIR/none}\n", "", "no such file or directory"},
	{twoGood + "Credentials: {File: DIR/file}\n", "", `there is no profile "default" in it`},
	{twoGood + "Credentials: {AccessKey: x, SecretKey: '${SECRET}'}\n", "", "variables are not expanded here"},
	{twoGood + "Credentials: {AccessKey: x, SecretKey: y, Region: us east}\n", "", "a region's name"},
	{twoGood + "BackendCredentials: [{Backend: http://three.example, AccessKey: x, SecretKey: y}]\n", "", "must be one of Backends"},
	{twoGood + "Repair: {Enabled: true}\n", "", "Credentials: no keys for backend"},
	{twoGood + "Repair: {Enabled: true}\nBackendCredentials: [{Backend: http://one.example:9000, AccessKey: x, SecretKey: y}]\n", "",
		`Credentials: no keys for backend "http://two.example:9000"`},
	{"Backends: [http://one.example]\nRepair: {Enabled: true}\nCredentials: {AccessKey: x, SecretKey: y}\n", "", "false when there is only one backend"},
}

// verdict is how akubra ends with a configuration, and what it prints.
func verdict(t *testing.T, args ...string) (exit int, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	signals := make(chan os.Signal, 1)
	c := &cli{
		version: testVersion, stdin: strings.NewReader(""), stdout: &out, stderr: &errs, signals: signals,
		started: func(*service.Proxy) { signals <- syscall.SIGTERM },
	}
	exit = c.run(args)
	return exit, errs.String()
}

// mistakeDir contains what the mistakes name.
func mistakeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := testkit.MustWritePair(t, dir, "one.example")
	_, other := testkit.MustWritePair(t, dir, "other.example")
	testkit.MustDo(t,
		os.Rename(cert, filepath.Join(dir, "cert.pem")), os.Rename(key, filepath.Join(dir, "key.pem")), os.Rename(other, filepath.Join(dir, "other.key")),
		os.WriteFile(filepath.Join(dir, "file"), []byte("nothing of use\n"), 0o600),
		os.Mkdir(filepath.Join(dir, "open"), 0o700), os.Chmod(filepath.Join(dir, "open"), 0o777),
		os.Symlink("/none/such", filepath.Join(dir, "nowhere")))
	return dir
}

// TestR21CheckAndStartAgree: each mistake is reported by check, in its own words, and by a start,
// in the same words.
func TestR21CheckAndStartAgree(t *testing.T) {
	if len(mistakesOfAll) < 101 {
		t.Errorf("only %d mistakes", len(mistakesOfAll))
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.MustDo(t, err)
	defer taken.Close()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	for i, m := range mistakesOfAll {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir := mistakeDir(t)
			t.Chdir(t.TempDir()) // DataDir is ./data
			_, free, _ := net.SplitHostPort(testkit.MustFreeAddr(t))
			yaml := strings.NewReplacer("DIR", dir, "TAKEN", taken.Addr().String(), "FREE", free).Replace(m.yaml)
			path := filepath.Join(dir, "akubra.yaml")
			testkit.MustDo(t, os.WriteFile(path, []byte(yaml), 0o600))
			if name, value, ok := strings.Cut(m.env, "="); ok {
				t.Setenv(name, value)
			}
			left := list(t, dir, ".")
			exit, said := verdict(t, "check", "-c", path)
			if exit == exitOK || !strings.Contains(said, m.want) {
				t.Errorf("check of %q ends with %d: %s, want %q", yaml, exit, said, m.want)
			}
			if now := list(t, dir, "."); now != left {
				t.Errorf("check of %q leaves %s where there was %s", yaml, now, left)
			}
			startExit, startSaid := verdict(t, "-c", path)
			if startExit != exit || !strings.Contains(startSaid, m.want) {
				t.Errorf("a start with %q ends with %d: %s; check ended with %d: %s", yaml, startExit, startSaid, exit, said)
			}
		})
	}
}

// R21: what this machine lacks names the line, or the variable, that asks for it, as all other mistakes do.
func TestR21WhatIsMissingHereNamesItsLine(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	dir := mistakeDir(t)
	path := filepath.Join(dir, "akubra.yaml")
	yaml := "# a comment\n" + twoGood + "Repair: {Enabled: true}\nLogging:\n  Mainlog:\n    File: DIR/none/main.log\nDataDir: DIR/nowhere\n"
	testkit.MustDo(t, os.WriteFile(path, []byte(strings.ReplaceAll(yaml, "DIR", dir)), 0o600))
	t.Setenv("AKUBRA_CONGESTIONCONTROL", "nonsuch")
	want := []string{
		`CongestionControl (from AKUBRA_CONGESTIONCONTROL): "nonsuch" is not allowed`, // without a line, so before the others
		`Credentials: no keys for backend "http://one.example:9000"`, `Credentials: no keys for backend "http://two.example:9000"`,
		path + ":5: Logging.Mainlog: cannot open log file", path + `:7: DataDir: "`,
	}
	for _, args := range [][]string{{"check", "-c", path}, {"-c", path}} {
		exit, said := verdict(t, args...)
		lines := strings.Split(strings.TrimSpace(said), "\n")
		if exit != exitWrong || len(lines) != len(want) {
			t.Fatalf("%v ends with %d: %s", args, exit, said)
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, want[i]) {
				t.Errorf("%v: mistake %q, want %q", args, line, want[i])
			}
		}
	}
}

func list(t *testing.T, dirs ...string) string {
	t.Helper()
	var names []string
	for _, dir := range dirs {
		testkit.MustDo(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			names = append(names, path)
			return err
		}))
	}
	return strings.Join(names, " ")
}

// TestR21CheckAndStartAgreeOnWhatIsRight: a configuration that starts is not reported as wrong.
func TestR21CheckAndStartAgreeOnWhatIsRight(t *testing.T) {
	for i, yaml := range []string{
		"", "Credentials: {AccessKey: 0123, SecretKey: 1e3}\n", "TLS: {CertFile: DIR/cert.pem, KeyFile: DIR/key.pem}\n",
		"DataDir: DIR/some/where/else\n", "CongestionControl: reno\n", "Repair: {Enabled: true}\nCredentials: {AccessKey: x, SecretKey: y}\n",
		"Logging: {Mainlog: {File: DIR/new.log, Stderr: false}}\n", "Logging: {Mainlog: {File: DIR/file, Stderr: false}}\n",
		"OnJournalError: continue\nFailureLimit: 0\n", "TLS: {Backends: {InsecureSkipVerify: true}}\n", "DataDir: DIR/a$b~\n",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			testkit.NoLeaks(t)
			dir := mistakeDir(t)
			t.Chdir(t.TempDir())
			path := filepath.Join(dir, "akubra.yaml")
			testkit.MustDo(t, os.WriteFile(path, []byte(twoGood+"Listen: 127.0.0.1:0\nAdminListen: 127.0.0.1:0\n"+strings.ReplaceAll(yaml, "DIR", dir)), 0o600))
			left := list(t, dir, ".")
			exit, said := verdict(t, "check", "-c", path)
			if now := list(t, dir, "."); now != left {
				t.Errorf("check leaves %s where there was %s", now, left)
			}
			if startExit, startSaid := verdict(t, "-c", path); exit != exitOK || startExit != exitOK {
				t.Errorf("%q: check ends with %d: %s; a start ends with %d: %s", yaml, exit, said, startExit, startSaid)
			}
		})
	}
}

// R21: dangerous settings cause a warning, but the proxy starts.
func TestR21CheckWarns(t *testing.T) {
	for yaml, want := range map[string]string{
		"Backends: [https://one.example]\nTLS: {Backends: {InsecureSkipVerify: true}}\n": "TLS.Backends.InsecureSkipVerify: any certificate is accepted",
		twoGood + "AdminListen: ':0'\n":                                            "AdminListen: \":0\" can be reached from other machines",
		twoGood + "AdminListen: ''\n":                                              "AdminListen: off",
		twoGood + "FailureLimit: 0\n":                                              "FailureLimit: 0 is off",
		"Backends: [http://one.example]\n":                                         "Backends: there is only one",
		twoGood + "WriteAck: quorum\nMaintainedBackend: http://one.example:9000\n": "WriteAck: with \"quorum\" 2 of the 2 backends have to take a write, and with those in maintenance only 1 can",
		twoGood + "OnJournalError: continue\n":                                     "OnJournalError: with \"continue\"",
		twoGood + "TLS: {CertFile: DIR/cert.pem, KeyFile: DIR/key.pem}\n":          "expires on",
		twoGood + "TLS: {Backends: {CAFile: DIR/cert.pem}}\n":                      "TLS.Backends: has no effect",
		twoGood + "Credentials: {AccessKey: x, SecretKey: y}\n":                    "all users may read the keys in",
	} {
		dir := mistakeDir(t)
		t.Chdir(dir)
		path := filepath.Join(dir, "akubra.yaml")
		if !strings.Contains(yaml, "AdminListen") {
			yaml += "AdminListen: 127.0.0.1:0\n"
		}
		testkit.MustDo(t, os.WriteFile(path, []byte(strings.ReplaceAll(yaml, "DIR", dir)+
			"Listen: 127.0.0.1:0\nLogging: {Mainlog: {Stderr: false, File: main.log}}\n"), 0o644))
		exit, said := verdict(t, "check", "-c", path)
		if exit != exitOK || !strings.Contains(said, "akubra: warning: ") || !strings.Contains(said, want) {
			t.Errorf("%q: exit code %d, %s, want %q", yaml, exit, said, want)
		}
		exit, said = verdict(t, "-c", path)
		if log := testkit.MustReadFile(t, "main.log"); exit != exitOK || !strings.Contains(log, strings.Split(want, `"`)[0]) {
			t.Errorf("%q: a start ends with %d: %s; log %s", yaml, exit, said, log)
		}
	}
}

// A check beside a running proxy with the same configuration finds no mistake; beside another proxy
// that has the journal it does.
func TestR21CheckBesideARunningProxy(t *testing.T) {
	r := newStoresRig(t, "")
	p := mustStart(t, "-c", r.config)
	t.Setenv("AKUBRA_LISTEN", p.Addr())
	t.Setenv("AKUBRA_ADMINLISTEN", p.AdminAddr())
	var out, errs bytes.Buffer
	c := &cli{version: testVersion, stdout: &out, stderr: &errs}
	if exit := c.run([]string{"check", "-c", r.config}); exit != exitOK || !strings.Contains(out.String(), "is running") {
		t.Errorf("exit code %d, stdout %q, stderr %q", exit, out.String(), errs.String())
	}
	// The file has another token than the proxy, which says so.
	file := testkit.MustReadFile(t, r.config)
	for i, token := range []string{"a-token-0123456789", "another-token-0123456789"} {
		testkit.MustDo(t, os.WriteFile(r.config, []byte(file+"\nAdminToken: "+token+"\n"), 0o600))
		exit, said := verdict(t, "reload", "-c", r.config)
		if i == 1 && (exit != exitFailed || !strings.Contains(said, "does not take the AdminToken of this file") || !strings.Contains(said, "SIGHUP")) {
			t.Errorf("reload ends with %d: %q", exit, said)
		}
	}
	if exit, said := verdict(t, "check", "-c", r.config); exit != exitFailed || !strings.Contains(said, "another process has it open") || !strings.Contains(said, "AdminToken") {
		t.Errorf("exit code %d, stderr %q", exit, said)
	}
	testkit.MustDo(t, os.WriteFile(r.config, []byte(file), 0o600))
	t.Setenv("AKUBRA_LISTEN", "127.0.0.1:0")
	t.Setenv("AKUBRA_ADMINLISTEN", "")
	if exit, said := verdict(t, "check", "-c", r.config); exit != exitFailed || !strings.Contains(said, "another process has it open") {
		t.Errorf("exit code %d, stderr %q", exit, said)
	}
	if exit, said := verdict(t, "-c", r.config); exit != exitFailed || !strings.Contains(said, "cannot open the journal") {
		t.Errorf("a start ends with %d: %q", exit, said)
	}
	p.signals <- syscall.SIGTERM
	p.wantExit(t, exitOK)
}

// R21: --online shows the backends side by side, and exits with 1 if one has a problem.
func TestR21CheckOnline(t *testing.T) {
	r := newStoresRig(t, "")
	exit, stdout, stderr := runArgs("check", "--online", "-c", r.config)
	for _, want := range append([]string{"configuration is valid", "BACKEND ", "CONDITIONS", "VERSIONING", "bkt "}, r.names()...) {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in %s", want, stdout)
		}
	}
	if strings.Contains(stdout+stderr, notToBeShown) {
		t.Errorf("a secret is shown: %s%s", stdout, stderr)
	}
	if exit != exitOK || stderr != "" {
		t.Errorf("exit code %d, stderr %s", exit, stderr)
	}
	r.stores[1].Stop()
	exit, stdout, stderr = runArgs("check", "--online", "--read-only", "-c", r.config)
	if want := fmt.Sprintf("akubra: backend %q: cannot be reached: it refuses connections", r.stores[1].Addr); exit != exitFailed ||
		!strings.Contains(stderr, want) || !strings.Contains(stdout, "failed") || !strings.Contains(stdout, "not tried") {
		t.Errorf("exit code %d, stdout %s, stderr %s, want %q", exit, stdout, stderr, want)
	}
}
