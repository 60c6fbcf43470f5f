package config

import (
	"strings"
	"testing"
	"time"
)

func TestR35OnConflict(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"": -1, "OnConflict: park": -1, "OnConflict: newest": -1, "OnConflict: {prefer: http://a}": 0,
		"OnConflict:\n  prefer: https://b:9000/": 1, "OnConflict: 'prefer: b:9000'": 1,
	} {
		c := mustParseConfig(t, twoBackends+text)
		if got := c.OnConflict.PreferredOf(c.Backends); got != want {
			t.Errorf("%q prefers %d, want %d", text, got, want)
		}
		warned := strings.Contains(strings.Join(c.Warnings(time.Now()), "\n"), "OnConflict: ")
		if dangerous := text != "" && !strings.Contains(text, "park"); warned != dangerous {
			t.Errorf("%q: warned of: %v", text, warned)
		}
	}
	for text, want := range map[string]string{
		"OnConflict: oldest":                           `OnConflict: "oldest" is not allowed, must be park, newest, or prefer: and one of Backends`,
		"OnConflict: {prefer: http://c}":               `and "http://c" is none`,
		"OnConflict: {prefer: http://a, newest: true}": `must be park, newest, or a map with the key prefer`,
		"OnConflict: [newest]":                         `must be park, newest, or a map with the key prefer`,
	} {
		if _, err := Parse([]byte(twoBackends+text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c, err := Parse([]byte(twoBackends+"OnConflict: {prefer: http://a}"), []string{"AKUBRA_ONCONFLICT=prefer: https://b:9000"})
	if err != nil || c.OnConflict.PreferredOf(c.Backends) != 1 {
		t.Errorf("from the environment: %v, %v", c, err)
	}
}

// Repair is on wherever there are keys for it, and nowhere else.
func TestR35RepairsWhereItCan(t *testing.T) {
	t.Parallel()
	keys := []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b"}
	for text, want := range map[string]string{
		"": "off, and says why",
		"Credentials: {AccessKey: a, SecretKey: b}":                             "on",
		"BackendCredentials: [{Backend: http://a, AccessKey: a, SecretKey: b}]": "off, and says why",
		"Repair: {Enabled: auto}":                                               "off, and says why",
		"Repair: {Enabled: false}":                                              "off",
		"Repair: {Enabled: False}\nCredentials: {AccessKey: a, SecretKey: b}":   "off",
		"Repair: {Enabled: true}":                                               "on", // it does not start, see Preflight
	} {
		c := mustParseConfig(t, twoBackends+text)
		on, why := c.Repairs(nil)
		got := "off"
		if on {
			got = "on"
		}
		if why != nil {
			got += ", and says why"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
		if on, _ := c.Repairs(keys); on != !strings.Contains(strings.ToLower(text), "false") {
			t.Errorf("%q: with keys in the environment %v", text, on)
		}
	}
	if on, why := mustParseConfig(t, "Backends: [http://a]\n").Repairs(keys); on || why != nil {
		t.Errorf("with one backend: %v, %v", on, why)
	}
}
