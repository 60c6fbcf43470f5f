package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"

	"github.com/akubra/akubra/internal/testkit"
)

// notToBeSeen is a secret, and part of every secret in these tests.
const notToBeSeen = "s3cr3t/with+odd=signs"

func writeCredentials(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "credentials")
	testkit.MustDo(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

const awsFile = `# kept by hand
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key=` + notToBeSeen + `
; a comment
[ other ]
AWS_ACCESS_KEY_ID=AKOTHER
aws_secret_access_key = ` + notToBeSeen + `2
aws_session_token = token
region = eu-west-9
something = else

[profile long]
aws_access_key_id = AKLONG
aws_secret_access_key = ` + notToBeSeen + `3
[half]
aws_access_key_id = AKHALF
[none]
[nokey]
aws_secret_access_key = ` + notToBeSeen + `
`

func TestCredentialsOf(t *testing.T) {
	file := writeCredentials(t, awsFile)
	env := []string{"AWS_ACCESS_KEY_ID=AKENV", "AWS_SECRET_ACCESS_KEY=" + notToBeSeen, "AWS_SESSION_TOKEN=envtoken", "AWS_REGION=us-gov-1"}
	none := []string{"AWS_ACCESS_KEY_ID=AKENV", "AWS_REGION=us-gov-1"}
	for name, tc := range map[string]struct {
		yaml    string
		environ []string
		want    [2]Keys
	}{
		"environment": {"", env, [2]Keys{
			{"AKENV", notToBeSeen, "envtoken", "us-gov-1"}, {"AKENV", notToBeSeen, "envtoken", "us-gov-1"}}},
		"keys for all": {"Credentials: {AccessKey: AK, SecretKey: sk}", env, [2]Keys{
			{"AK", "sk", "", "us-gov-1"}, {"AK", "sk", "", "us-gov-1"}}},
		"no region anywhere": {"Credentials: {AccessKey: AK, SecretKey: sk}", nil, [2]Keys{
			{"AK", "sk", "", "us-east-1"}, {"AK", "sk", "", "us-east-1"}}},
		"file": {"Credentials: {File: " + file + "}", none, [2]Keys{
			{"AKDEFAULT", notToBeSeen, "", "us-gov-1"}, {"AKDEFAULT", notToBeSeen, "", "us-gov-1"}}},
		"profile with token and region": {"Credentials: {File: " + file + ", Profile: other}", none, [2]Keys{
			{"AKOTHER", notToBeSeen + "2", "token", "eu-west-9"}, {"AKOTHER", notToBeSeen + "2", "token", "eu-west-9"}}},
		"region over the file's": {"Credentials: {File: " + file + ", Profile: other, Region: here}", none, [2]Keys{
			{"AKOTHER", notToBeSeen + "2", "token", "here"}, {"AKOTHER", notToBeSeen + "2", "token", "here"}}},
		"one of its own": {"Credentials: {AccessKey: AK, SecretKey: sk, Region: all}\nBackendCredentials: [{Backend: 'https://B:9000/', AccessKey: AKB, SecretKey: skb}]", env,
			[2]Keys{{"AK", "sk", "", "all"}, {"AKB", "skb", "", "all"}}},
		"own region alone": {"Credentials: {AccessKey: AK, SecretKey: sk}\nBackendCredentials: [{Backend: http://a, Region: own}]", env,
			[2]Keys{{"AK", "sk", "", "own"}, {"AK", "sk", "", "us-gov-1"}}},
		"each its own, one from a file": {"BackendCredentials: [{Backend: http://a, File: " + file + ", Profile: long, Region: ra}, {Backend: https://b:9000, AccessKey: AKB, SecretKey: skb}]", nil,
			[2]Keys{{"AKLONG", notToBeSeen + "3", "", "ra"}, {"AKB", "skb", "", "us-east-1"}}},
		"own file, default profile": {"BackendCredentials: [{Backend: http://a, File: " + file + "}]", env,
			[2]Keys{{"AKDEFAULT", notToBeSeen, "", "us-gov-1"}, {"AKENV", notToBeSeen, "envtoken", "us-gov-1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := mustParseConfig(t, twoBackends+tc.yaml).SigningKeys(tc.environ)
			if err != nil || !reflect.DeepEqual(got, tc.want[:]) {
				t.Errorf("got %s, %v; want %s", reveal(got), err, reveal(tc.want[:]))
			}
		})
	}
}

// reveal shows what a test compares.
func reveal(all []Keys) string {
	var b strings.Builder
	for _, k := range all {
		b.WriteString("{" + k.AccessKey + " " + string(k.SecretKey) + " " + string(k.SessionToken) + " " + k.Region + "}")
	}
	return b.String()
}

func TestCredentialsMissing(t *testing.T) {
	c := mustParseConfig(t, twoBackends+"BackendCredentials: [{Backend: http://a, AccessKey: AK, SecretKey: sk}]")
	_, err := c.SigningKeys(nil)
	lines, ok := errors.AsType[Errors](err)
	if !ok || len(lines) != 1 || !strings.HasPrefix(lines[0], `Credentials: no keys for backend "https://b:9000"; set AccessKey`) {
		t.Errorf("error %T %v", err, err)
	}

	// Half of what the environment can have is told apart from nothing.
	for environ, half := range map[string]string{
		"AWS_ACCESS_KEY_ID=AK":                        "the environment has AWS_ACCESS_KEY_ID, but AWS_SECRET_ACCESS_KEY is not set or empty",
		"AWS_ACCESS_KEY_ID=AK AWS_SECRET_ACCESS_KEY=": "the environment has AWS_ACCESS_KEY_ID, but AWS_SECRET_ACCESS_KEY is not set or empty",
		"AWS_SECRET_ACCESS_KEY=" + notToBeSeen:        "the environment has AWS_SECRET_ACCESS_KEY, but AWS_ACCESS_KEY_ID is not set or empty",
		"AWS_ACCESS_KEY_ID= AWS_SECRET_ACCESS_KEY=":   "",
		"AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY=b": "",
	} {
		environ := strings.Fields(environ)
		if got := HalfSet(environ); got != half {
			t.Errorf("%q: %q, want %q", environ, got, half)
		}
		if _, err := c.SigningKeys(environ); half != "" && (err == nil || !strings.HasSuffix(err.Error(), "; "+half)) {
			t.Errorf("%q: error %v", environ, err)
		}
	}

	// The newline at the end of a file is not part of the key.
	keys, err := c.SigningKeys([]string{"AWS_ACCESS_KEY_ID=AK\n", "AWS_SECRET_ACCESS_KEY=sk\r\n"})
	if err != nil || keys[1].AccessKey != "AK" || keys[1].SecretKey != "sk" {
		t.Errorf("keys from variables with newlines: %+v, %v", keys, err)
	}

	file := writeCredentials(t, awsFile)
	c = mustParseConfig(t, twoBackends+"Credentials: {File: "+file+"}")
	testkit.MustDo(t, os.Remove(file))
	_, err = c.SigningKeys(nil)
	if lines, ok := errors.AsType[Errors](err); !ok || len(lines) != 2 || !strings.Contains(lines[1], `"https://b:9000" from `) {
		t.Errorf("error %T %v", err, err)
	}
}

// R21: one line per mistake, and no secret in any of them.
func TestR21CredentialMistakes(t *testing.T) {
	file := writeCredentials(t, awsFile)
	for name, tc := range map[string]struct{ yaml, want string }{
		"no secret":                      {"Credentials: {AccessKey: AK}", `Credentials.SecretKey: "" is not allowed, must be the secret key for Credentials.AccessKey, which is set`},
		"no access key":                  {"Credentials: {SecretKey: " + notToBeSeen + "}", `Credentials.AccessKey: "" is not allowed, must be the access key for Credentials.SecretKey, which is set`},
		"both":                           {"Credentials: {AccessKey: AK, SecretKey: sk, File: /f}", `Credentials.File: "/f" is not allowed, must be empty if Credentials.AccessKey is set`},
		"odd access key":                 {"Credentials: {AccessKey: 'A K', SecretKey: sk}", `Credentials.AccessKey: what is there is not allowed, must be an access key, without spaces, commas and slashes`},
		"secret with its file's newline": {"Credentials: {AccessKey: AK, SecretKey: \"" + notToBeSeen + "\\n\"}", `Credentials.SecretKey: what is there is not allowed, must be a secret key: one line, without control characters, without surrounding spaces`},
		"secret as list":                 {"Credentials: {AccessKey: AK, SecretKey: [" + notToBeSeen + "]}", `Credentials.SecretKey: what is there is not allowed, must be text`},
		"all in one text":                {"Credentials: AK:" + notToBeSeen, `Credentials: what is there is not allowed, must be a map with the keys AccessKey, SecretKey, Region, File, Profile`},
		"unknown key":                    {"Credentials: {Secret: " + notToBeSeen + "}", `Credentials.Secret: unknown key, the nearest known one is Credentials.SecretKey`},
		"region":                         {"Credentials: {Region: us east}", `Credentials.Region: "us east" is not allowed, must be a region's name, as in us-east-1`},
		"no file":                        {"Credentials: {File: testdata/none}", `Credentials.File: "testdata/none" is not allowed, must be a file of AWS's credentials: cannot read it: no such file or directory`},
		"device":                         {"Credentials: {File: /dev/zero}", `Credentials.File: "/dev/zero" is not allowed, must be a file of AWS's credentials: cannot read it: not a regular file`},
		"no profile":                     {"Credentials: {File: " + file + ", Profile: nobody}", `Credentials.File: "` + file + `" is not allowed, must be a file of AWS's credentials: there is no profile "nobody" in it`},
		"half a profile":                 {"Credentials: {File: " + file + ", Profile: half}", `Credentials.File: "` + file + `" is not allowed, must be a file of AWS's credentials: profile "half" has no aws_secret_access_key`},
		"empty profile":                  {"Credentials: {File: " + file + ", Profile: none}", `Credentials.File: "` + file + `" is not allowed, must be a file of AWS's credentials: profile "none" has no aws_access_key_id`},
		"other half":                     {"Credentials: {File: " + file + ", Profile: nokey}", `Credentials.File: "` + file + `" is not allowed, must be a file of AWS's credentials: profile "nokey" has no aws_access_key_id`},
		"no list":                        {"BackendCredentials: {AccessKey: " + notToBeSeen + "}", `BackendCredentials: what is there is not allowed, must be a list of maps with the keys Backend, AccessKey, SecretKey, Region, File, Profile`},
		"no map":                         {"BackendCredentials: [" + notToBeSeen + "]", `BackendCredentials[0]: what is there is not allowed, must be a map with the keys Backend, AccessKey, SecretKey, Region, File, Profile`},
		"unknown key inside":             {"BackendCredentials: [{Backend: http://a, Regoin: x, AccessKey: a, SecretKey: b}]", `BackendCredentials[0].Regoin: unknown key, the nearest known one is BackendCredentials[0].Region`},
		"wrong type inside":              {"BackendCredentials: [{Backend: http://a, AccessKey: a, SecretKey: [" + notToBeSeen + "]}]", `BackendCredentials[0].SecretKey: what is there is not allowed, must be text`},
		"unknown backend":                {"BackendCredentials: [{Backend: http://c, AccessKey: a, SecretKey: b}]", `BackendCredentials[0].Backend: "http://c" is not allowed, must be one of Backends`},
		"backend twice":                  {"BackendCredentials: [{Backend: http://a, AccessKey: a, SecretKey: b}, {Backend: 'http://A:80', AccessKey: a, SecretKey: b}]", `BackendCredentials[1].Backend: "http://A:80" is not allowed, must be another backend than BackendCredentials[0]`},
		"nothing in it":                  {"BackendCredentials: [{Backend: http://a}]", `BackendCredentials[0]: must have AccessKey and SecretKey, or File, or Region`},
		"no secret inside":               {"BackendCredentials: [{Backend: http://a, AccessKey: a}]", `BackendCredentials[0].SecretKey: "" is not allowed, must be the secret key for BackendCredentials[0].AccessKey, which is set`},
	} {
		t.Run(name, func(t *testing.T) {
			lines := configMistakes(t, twoBackends+tc.yaml)
			wantMistakes(t, lines, []string{tc.want})
			if strings.Contains(strings.Join(lines, "\n"), notToBeSeen[:6]) {
				t.Errorf("the secret is in %q", lines)
			}
		})
	}
}

func TestCredentialsEnvironment(t *testing.T) {
	c := mustParseConfig(t, twoBackends+"Credentials: {AccessKey: file, SecretKey: file}",
		"AKUBRA_CREDENTIALS_ACCESSKEY=env", "AKUBRA_CREDENTIALS_SECRETKEY=0123",
		"AKUBRA_BACKENDCREDENTIALS=[{Backend: http://a, AccessKey: one, SecretKey: two}]",
		"AKUBRA_REPAIR_OBJECTSPERSECOND=2.5", "AKUBRA_DATADIR=/d", "AKUBRA_DURABILITY=power")
	if c.Credentials.AccessKey != "env" || string(c.Credentials.SecretKey) != "0123" || len(c.BackendCredentials) != 1 ||
		string(c.BackendCredentials[0].SecretKey) != "two" || c.BackendCredentials[0].Profile != "default" ||
		c.Repair.ObjectsPerSecond != 2.5 || c.DataDir != "/d" || c.Durability != DurabilityPower {
		t.Errorf("got %+v", c)
	}
	lines := configMistakes(t, twoBackends, "AKUBRA_BACKENDCREDENTIALS={"+notToBeSeen)
	wantMistakes(t, lines, []string{"BackendCredentials (from AKUBRA_BACKENDCREDENTIALS): what is there is not allowed, " +
		"must be a list of maps with the keys Backend, AccessKey, SecretKey, Region, File, Profile"})
}

// However a configuration is printed, its secrets are not shown.
func TestSecretsAreNotPrinted(t *testing.T) {
	c := mustParseConfig(t, twoBackends+"Credentials: {AccessKey: AK, SecretKey: "+notToBeSeen+"}\nBackendCredentials: [{Backend: http://a, AccessKey: AK, SecretKey: "+notToBeSeen+"}]")
	keys, err := c.SigningKeys([]string{"AWS_SESSION_TOKEN=" + notToBeSeen})
	if err != nil || string(keys[0].SecretKey) != notToBeSeen {
		t.Fatalf("keys %s, %v", reveal(keys), err)
	}
	var printed []string
	for _, v := range []any{c, keys, c.Credentials.SecretKey, &c.Credentials, []secret{notToBeSeen}, map[string]any{"x": keys}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		asJSON, err := json.Marshal(v)
		testkit.MustDo(t, err)
		asYAML, err := yaml.Marshal(v)
		testkit.MustDo(t, err)
		var shown bytes.Buffer
		l := zerolog.New(&shown)
		l.Info().Interface("v", v).Str("s", fmt.Sprint(v)).Send()
		printed = append(printed, string(asJSON), string(asYAML), shown.String())
	}
	hex := fmt.Sprintf("%x", notToBeSeen)
	if i := slices.IndexFunc(printed, func(s string) bool {
		return strings.Contains(s, notToBeSeen[:6]) || strings.Contains(s, hex[:12])
	}); i >= 0 {
		t.Errorf("the secret is in %s", printed[i])
	}
}

func FuzzParseCredentials(f *testing.F) {
	f.Add([]byte(awsFile), "other")
	f.Add([]byte("[\n]\n=\n[a\naws_access_key_id"), "a")
	f.Fuzz(func(t *testing.T, text []byte, profile string) {
		keys, found := parseCredentials(text, profile)
		if !found && keys != (Keys{}) {
			t.Errorf("keys of no profile: %+v", keys)
		}
		for _, s := range []string{keys.AccessKey, string(keys.SecretKey), string(keys.SessionToken), keys.Region} {
			if strings.ContainsAny(s, "\n") || !bytes.Contains(text, []byte(s)) {
				t.Errorf("%q was made up", s)
			}
		}
	})
}

// R21: regions that differ are warned of, since clients' requests carry one.
func TestR21RegionsDiffer(t *testing.T) {
	const own = "BackendCredentials: [{Backend: 'https://b:9000', AccessKey: a, SecretKey: b, Region: %s}]\n"
	for yaml, warned := range map[string]bool{
		"": false,
		"Credentials: {AccessKey: a, SecretKey: b, Region: moon-1}\n":                                           false,
		strings.ReplaceAll(own, "%s", "us-east-1"):                                                              false,
		strings.ReplaceAll(own, "%s", "moon-1"):                                                                 true,
		"Credentials: {AccessKey: a, SecretKey: b, Region: moon-1}\n" + strings.ReplaceAll(own, "%s", "''"):     false,
		"Credentials: {AccessKey: a, SecretKey: b, Region: moon-1}\n" + strings.ReplaceAll(own, "%s", "moon-1"): false,
	} {
		c := mustParseConfig(t, twoBackends+yaml)
		if got := strings.Contains(strings.Join(c.Warnings(time.Now()), "\n"), "BackendCredentials: the regions differ."); got != warned {
			t.Errorf("%q: warned %v", yaml, got)
		}
	}
}
