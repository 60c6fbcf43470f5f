package config

import (
	"strings"
	"testing"
	"time"
)

// R21, R28: a rule for primaries that is never used is surely not what its writer wanted.
func TestR21PrimaryThatIsNeverUsed(t *testing.T) {
	for primary, want := range map[string]string{
		"http://a":                          "",
		"[http://a, http://b]":              `Primary[1]: "http://b" has no effect, since the first rule that matches counts: "http://a" stands before it`,
		"[logs=http://a, http://b]":         "",
		"['*=http://a', 'logs-*=http://b']": `Primary[1]: "logs-*=http://b" has no effect, since the first rule that matches counts: "*=http://a" stands before it`,
		"['logs-*=http://a', 'logs-1=http://b', 'l*=http://b']": `Primary[1]: "logs-1=http://b" has no effect`,
		"['logs-?=http://a', 'logs-*=http://b']":                "",
		"[logs=http://a, logs=http://a]":                        `Primary[1]: "logs=http://a" has no effect`,
		"['logs/*=http://a']":                                   `Primary[0]: "logs/*=http://a" matches no bucket, since a bucket's name has no slash`,
	} {
		c, err := Parse([]byte("Backends: [http://a, http://b]\nPrimary: "+primary), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range c.Warnings(time.Now()) {
			if strings.HasPrefix(line, "Primary") {
				got = append(got, line)
			}
		}
		if want == "" && got != nil || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)) {
			t.Errorf("%s: %q, want %q", primary, got, want)
		}
	}
}
