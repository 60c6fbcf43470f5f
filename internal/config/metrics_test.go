package config

import (
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR21MetricsMistakes: where metrics are, and what they ask for.
func TestR21MetricsMistakes(t *testing.T) {
	const backend = "Backends: ['http://a', 'http://b']\n"
	for text, want := range map[string]string{
		"MetricsListen: ':9180'\nMetricsToken: 0123456789abcdef":                  "",
		"MetricsListen: nowhere":                                                  "MetricsListen: ",
		"MetricsListen: ':8080'":                                                  "Listen has",
		"MetricsListen: '127.0.0.1:8071'":                                         "AdminListen has",
		"MetricsToken: 0123456789abcde":                                           "MetricsToken: ",
		"MetricsToken: '0123456789 abcdef'":                                       "MetricsToken: ",
		"MetricsToken: \"0123456789\\nabcdef\"":                                   "MetricsToken: ",
		"MetricsToken: '0123456789äbcdef'":                                        "MetricsToken: ",
		"MetricsListen: ':9180'\nBackends: ['http://127.0.0.1:9180', 'http://b']": "MetricsListen has",
	} {
		if !strings.Contains(text, "Backends") {
			text += "\n" + backend
		}
		_, err := Parse([]byte(text), nil)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q is refused: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		case err != nil && strings.Contains(err.Error(), "0123456789"): // R37
			t.Errorf("%q: the error shows the token: %v", text, err)
		}
	}
	for text, warned := range map[string]bool{
		"MetricsListen: ':9180'":                                 true,
		"MetricsListen: '127.0.0.1:9180'":                        false,
		"MetricsListen: ':9180'\nMetricsToken: 0123456789abcdef": false,
	} {
		c, err := Parse([]byte(text+"\n"+backend), nil)
		testkit.MustDo(t, err)
		if got := strings.Contains(strings.Join(c.Warnings(time.Now()), "\n"), "MetricsListen"); got != warned {
			t.Errorf("%q: warned: %t", text, got)
		}
	}
}
