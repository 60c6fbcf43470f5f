package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"github.com/akubra/akubra/internal/congestion"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/internal/words"
)

// Config is what an operator can set. The first nine keys are the original Akubra's;
// config.yaml.example explains each key. A Config returned by Load or Parse, or completed by
// Complete, has been checked and must not be modified any more.
type Config struct {
	Listen                    string            `koanf:"Listen"`
	Backends                  []string          `koanf:"Backends"` // see BackendURLs
	ConnLimit                 int               `koanf:"ConnLimit"`
	AdditionalRequestHeaders  map[string]string `koanf:"AdditionalRequestHeaders"`
	AdditionalResponseHeaders map[string]string `koanf:"AdditionalResponseHeaders"`
	ConnectionTimeout         time.Duration     `koanf:"ConnectionTimeout"`
	ConnectionDialTimeout     time.Duration     `koanf:"ConnectionDialTimeout"`
	MaintainedBackend         oneOrMany         `koanf:"MaintainedBackend"` // see MaintainedMask
	SyncLogMethods            []string          `koanf:"SyncLogMethods"`

	AdminListen           string             `koanf:"AdminListen"`   // empty means off
	AdminHosts            []string           `koanf:"AdminHosts"`    // see admin.Hosts
	MetricsListen         string             `koanf:"MetricsListen"` // empty means on AdminListen alone
	MetricsToken          secret             `koanf:"MetricsToken"`  // empty means that everybody may read them
	AdminToken            secret             `koanf:"AdminToken"`    // empty means none is asked for
	Domains               []string           `koanf:"Domains"`
	WriteAck              string             `koanf:"WriteAck"`
	ReadPolicy            string             `koanf:"ReadPolicy"`
	ReadFrom              map[string]string  `koanf:"ReadFrom"` // see ReadWeights
	StaleReads            string             `koanf:"StaleReads"`
	HedgeAfter            string             `koanf:"HedgeAfter"` // see HedgeDelay
	HedgeBudget           float64            `koanf:"HedgeBudget"`
	ReadCheck             float64            `koanf:"ReadCheck"` // 0 means off
	CompareETags          bool               `koanf:"CompareETags"`
	RingSize              text.ByteSize      `koanf:"RingSize"`
	StallTimeout          time.Duration      `koanf:"StallTimeout"`
	FailureLimit          int                `koanf:"FailureLimit"` // 0 means off
	MaxBodySize           text.ByteSize      `koanf:"MaxBodySize"`  // 0 means no limit
	MaxHeaderSize         text.ByteSize      `koanf:"MaxHeaderSize"`
	MaxConcurrentRequests int                `koanf:"MaxConcurrentRequests"`
	MinClientRate         text.ByteSize      `koanf:"MinClientRate"` // per second; 0 means off
	ShutdownDelay         time.Duration      `koanf:"ShutdownDelay"` // 0 means off
	ShutdownTimeout       time.Duration      `koanf:"ShutdownTimeout"`
	CongestionControl     string             `koanf:"CongestionControl"`
	TLS                   TLSConfig          `koanf:"TLS"`
	BackendTLS            []BackendTLSConfig `koanf:"BackendTLS"` // see TLSOf
	Logging               LoggingConfig      `koanf:"Logging"`

	Primary     oneOrMany     `koanf:"Primary"` // see PrimaryRules
	PrimaryWait time.Duration `koanf:"PrimaryWait"`
	ProbeBucket string        `koanf:"ProbeBucket"` // empty: backends that ignore conditions are not looked for

	DataDir            string                     `koanf:"DataDir"`
	Durability         string                     `koanf:"Durability"`
	OnJournalError     string                     `koanf:"OnJournalError"`
	Credentials        CredentialsConfig          `koanf:"Credentials"` // see SigningKeys
	BackendCredentials []BackendCredentialsConfig `koanf:"BackendCredentials"`
	Repair             RepairConfig               `koanf:"Repair"`
	OnConflict         Conflict                   `koanf:"OnConflict"`
}

// The values of Durability: what a promise in the journal survives.
const (
	DurabilityProcess = "process"
	DurabilityPower   = "power"
)

// The values of OnJournalError: what happens to writes that cannot be promised.
const (
	OnJournalErrorRefuse   = "refuse"
	OnJournalErrorContinue = "continue"
)

// RepairConfig sets how fast and how persistently backends are repaired.
type RepairConfig struct {
	Enabled          string  `koanf:"Enabled"`          // inside the proxy, see Repairs; `akubra repair` works without it
	Concurrency      string  `koanf:"Concurrency"`      // see Objects
	ObjectsPerSecond float64 `koanf:"ObjectsPerSecond"` // 0 means no limit
	BytesPerSecond   Rates   `koanf:"BytesPerSecond"`   // see Config.BytesPerSecond
	MaxTries         int     `koanf:"MaxTries"`
	CopyBucketConfig bool    `koanf:"CopyBucketConfig"`
}

// Default is the only place for defaults. It leaves out Backends, which have none.
func Default() *Config {
	return &Config{
		Listen:                ":8080",
		ConnLimit:             1000,
		ConnectionTimeout:     30 * time.Second,
		ConnectionDialTimeout: 3 * time.Second,
		StallTimeout:          time.Second, // R10
		SyncLogMethods:        []string{"PUT", "POST", "DELETE"},
		AdminListen:           "127.0.0.1:8071",
		WriteAck:              words.AckFirst,
		ReadPolicy:            words.ReadAll,
		StaleReads:            words.StaleRefuse,
		HedgeAfter:            words.HedgeP95,
		HedgeBudget:           0.05,
		PrimaryWait:           time.Second,
		CompareETags:          true,
		RingSize:              256 << 10,
		FailureLimit:          10,
		// S3's largest single upload is 5 GiB; aws-chunked adds a signature to each chunk.
		MaxBodySize:           6 << 30,
		MaxHeaderSize:         16 << 10,
		MaxConcurrentRequests: 1000,
		MinClientRate:         64,
		ShutdownTimeout:       30 * time.Second,
		CongestionControl:     congestion.Auto,
		TLS:                   TLSConfig{MinVersion: minTLS, Backends: TLSBackendConfig{MinVersion: minTLS}},
		Logging: LoggingConfig{
			Synclog:   LogOutput{Stderr: true, Level: "info"},
			Accesslog: LogOutput{Level: "info"},
			Mainlog:   LogOutput{Stderr: true, Level: "info"},
		},
		DataDir:        "./data",
		Durability:     DurabilityProcess,
		OnJournalError: OnJournalErrorRefuse,
		Credentials:    CredentialsConfig{Profile: defaultProfile},
		Repair:         RepairConfig{Enabled: RepairAuto, Concurrency: ConcurrencyAuto, MaxTries: 20},
		OnConflict:     OnConflictPark,
	}
}

// finish sets the defaults that depend on other keys.
func (c *Config) finish() {
	if c.StallTimeout == 0 {
		c.StallTimeout = c.ConnectionTimeout
	}
	if len(c.SyncLogMethods) == 0 { // R16
		c.SyncLogMethods = Default().SyncLogMethods
	}
	c.Repair.Enabled = strings.ToLower(c.Repair.Enabled) // YAML's True is true
	for i := range c.BackendCredentials {
		if b := &c.BackendCredentials[i]; b.Profile == "" {
			b.Profile = defaultProfile
		}
	}
	for i := range c.BackendTLS {
		if b := &c.BackendTLS[i]; b.MinVersion == "" {
			b.MinVersion = minTLS
		}
	}
}

// Errors are the mistakes in a configuration, one line each (R21).
type Errors []string

func (e Errors) Error() string { return strings.Join(e, "\n") }

// MaxSize bounds what is parsed: the text may come from the network (internal/admin).
const MaxSize = 1 << 20

// Load reads the file at path, overridden by the process's environment. If the file could be read,
// an error is of type Errors.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration %q: %w", path, text.Cause(err))
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration %q: %w", path, text.Cause(err))
	}
	m := newMistakes()
	m.file, m.places = path, map[string]int{}
	return parse(content, os.Environ(), m)
}

// Parse makes a Config from a YAML text and the AKUBRA_ variables in environ. Its error is of type
// Errors; without a file, only YAML syntax errors name lines.
func Parse(content []byte, environ []string) (*Config, error) {
	return parse(content, environ, newMistakes())
}

// CheckText checks a configuration that came from the network without opening any file it names.
// unopened are the keys of such files; mistakes is nil if there are none.
func CheckText(content []byte) (unopened, mistakes []string) {
	m := newMistakes()
	m.noFiles, m.places = true, map[string]int{}
	_, err := parse(content, nil, m)
	if list, ok := errors.AsType[Errors](err); ok {
		return m.unopened, list
	}
	if err != nil {
		return m.unopened, []string{err.Error()}
	}
	return m.unopened, nil
}

func parse(content []byte, environ []string, m *mistakes) (*Config, error) {
	if len(content) > MaxSize {
		return nil, Errors{fmt.Sprintf("cannot parse configuration %q: it is larger than %s", m.file, text.ByteSize(MaxSize))}
	}
	k := koanf.New(keyDelim)
	if err := k.Load(rawbytes.Provider(content), yamlParser{m.places}); err != nil {
		return nil, yamlMistakes(m.file, content, err)
	}
	if err := k.Load(envProvider(environ, m), nil); err != nil {
		return nil, Errors{fmt.Sprintf("cannot read environment: %v", err)}
	}
	c := Default()
	decodeInto(c, k, m)
	if err := c.completeWith(m); err != nil {
		return nil, err
	}
	return c, nil
}

// Complete sets the defaults of c that depend on other keys, and checks it, for a program that has
// made c from Default. Its error is of type Errors.
func (c *Config) Complete() error { return c.completeWith(newMistakes()) }

func (c *Config) completeWith(m *mistakes) error {
	c.finish()
	c.check(m)
	if wrong := m.errors(); wrong != nil {
		return wrong
	}
	return nil
}

// BackendURLs are the Backends as URLs: scheme, host and an optional port, nothing else.
func (c *Config) BackendURLs() []*url.URL {
	urls := make([]*url.URL, len(c.Backends))
	for i, s := range c.Backends {
		u, err := parseBackend(s)
		if err != nil {
			panic(fmt.Sprintf("config: backend %q was not checked: %v", s, err))
		}
		urls[i] = u
	}
	return urls
}

// MaintainedMask is the set of maintained backends, bit i for Backends[i] (R14).
func (c *Config) MaintainedMask() uint64 {
	var mask uint64
	for i, s := range c.Backends {
		if slices.ContainsFunc(c.MaintainedBackend, func(m string) bool { return sameBackend(m, s) }) {
			mask |= 1 << i
		}
	}
	return mask
}

// ReadWeights are ReadFrom by backend, or nil where all are equal. A backend that is not
// named there has the weight 1.
func (c *Config) ReadWeights() []int {
	if len(c.ReadFrom) == 0 {
		return nil
	}
	weights := make([]int, len(c.Backends))
	for i, backend := range c.Backends {
		weights[i] = 1
		for of, weight := range c.ReadFrom {
			if sameBackend(backend, of) {
				weights[i], _ = strconv.Atoi(weight) // checked
			}
		}
	}
	return weights
}

// HedgeDelay is HedgeAfter: a time, 0 for never, or p95.
func (c *Config) HedgeDelay() (d time.Duration, p95 bool) {
	d, p95, _ = parseHedge(c.HedgeAfter) // checked
	return d, p95
}

func parseHedge(s string) (d time.Duration, p95, ok bool) {
	switch s {
	case words.HedgeOff:
		return 0, false, true
	case words.HedgeP95:
		return 0, true, true
	}
	d, err := time.ParseDuration(s)
	return d, false, err == nil && d > 0 && d <= maxDuration
}

// PrimaryRule names the primary, by its place in Backends, of the buckets whose names match
// Pattern; "" is every bucket (R28).
type PrimaryRule struct {
	Pattern string
	Backend int
}

// PrimaryRules are what Primary says, in its order.
func (c *Config) PrimaryRules() (rules []PrimaryRule) {
	for _, s := range c.Primary {
		pattern, backend := splitPrimary(s)
		b := slices.IndexFunc(c.Backends, func(other string) bool { return sameBackend(other, backend) })
		rules = append(rules, PrimaryRule{Pattern: pattern, Backend: b})
	}
	return rules
}

// splitPrimary takes "PATTERN=URL", or a URL alone, apart.
func splitPrimary(s string) (pattern, backend string) {
	if pattern, backend, found := strings.Cut(s, "="); found {
		return pattern, backend
	}
	return "", s
}

// JournalDir is the journal's directory within DataDir.
func (c *Config) JournalDir() string { return filepath.Join(c.DataDir, "journal") }

// BackendNames are the names of the backends in records, metrics and the journal.
func (c *Config) BackendNames() []string {
	var names []string
	for _, u := range c.BackendURLs() {
		names = append(names, u.Host)
	}
	return names
}
