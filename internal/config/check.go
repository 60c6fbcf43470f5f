package config

import (
	"fmt"
	"maps"
	"math"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/akubra/akubra/internal/datadir"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/internal/words"
)

// MaxBackends is the most backends allowed: each is a bit of a 64-bit mask.
const MaxBackends = 64

// notSoLong is what a duration past maxDuration must be.
const notSoLong = "at most 8760h (a year)"

// Limits on what an operator may choose.
const (
	minRingSize   = 16 << 10 // less costs more waiting than it saves memory
	maxRingSize   = 64 << 20 // the largest that engine/ring pools
	minHeaderSize = 4 << 10  // fits a key of 1,024 bytes, each written as %XX, and a signature
	maxHeaderSize = 1 << 20
	maxCount      = 1_000_000
	maxClientRate = 1 << 20 // bytes a second; more would cut healthy clients
	// maxConcurrency bounds concurrent repairs: each holds a connection to every backend.
	maxConcurrency = 256
)

// syncLogMethods are the methods that S3 and browsers talking to it use.
var syncLogMethods = []string{"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"}

// check records every mistake (R21).
func (c *Config) check(m *mistakes) {
	m.checkPlaceholders("", reflect.ValueOf(*c))
	m.checkAddress("Listen", c.Listen)
	m.checkBackends(c.Backends)
	m.checkOwnAddresses(c)
	m.checkMaintained(c.MaintainedBackend, c.Backends)
	checkRange(m, "ConnLimit", c.ConnLimit, max(1, len(c.Backends)), maxCount, ", and at least the number of backends")
	m.checkHeaders("AdditionalRequestHeaders", c.AdditionalRequestHeaders)
	m.checkHeaders("AdditionalResponseHeaders", c.AdditionalResponseHeaders)
	m.checkDuration("ConnectionTimeout", c.ConnectionTimeout, false)
	m.checkDuration("ConnectionDialTimeout", c.ConnectionDialTimeout, false)
	for i, method := range c.SyncLogMethods {
		m.checkOneOf(element("SyncLogMethods", i), method, syncLogMethods...)
	}
	if c.AdminListen != "" {
		m.checkAddress("AdminListen", c.AdminListen)
		if sameAddress(c.Listen, c.AdminListen) {
			m.add("AdminListen", c.AdminListen, "an address of its own: Listen has %q", c.Listen)
		}
	}
	m.checkMetrics(c)
	for i, host := range c.AdminHosts {
		if !validHost(host) {
			m.add(element("AdminHosts", i), host, "a plain host name, as in akubra.example.com, without scheme or port")
		}
	}
	m.checkToken("AdminToken", c.AdminToken, "", "ASCII, without spaces")
	for i, domain := range c.Domains {
		if !validDomain(domain) {
			m.add(element("Domains", i), domain, "a plain host name, as in s3.example.com, without scheme or port")
		}
	}
	m.checkOneOf("WriteAck", c.WriteAck, words.AckFirst, words.AckQuorum, words.AckAll)
	m.checkOneOf("ReadPolicy", c.ReadPolicy, words.ReadAll, words.ReadPrefer, words.ReadSpread, words.ReadFastest)
	m.checkReadFrom(c.ReadFrom, c.Backends)
	m.checkOneOf("StaleReads", c.StaleReads, words.StaleRefuse, words.StaleAllow)
	if _, _, ok := parseHedge(c.HedgeAfter); !ok || !isDecimal(c.HedgeAfter) {
		m.add("HedgeAfter", c.HedgeAfter, "%s", decimally(c.HedgeAfter, "off, p95, or a time longer than 0s, as in 50ms"))
	}
	checkRange(m, "HedgeBudget", c.HedgeBudget, 0, 1, ", as a share of all reads")
	checkRange(m, "ReadCheck", c.ReadCheck, 0, 1, ", as a share of all reads (0 is off)")
	m.checkPrimary(c.Primary, c.Backends)
	m.checkDuration("PrimaryWait", c.PrimaryWait, true)
	if b := c.ProbeBucket; b != "" && !validBucket(b) {
		m.add("ProbeBucket", b, "the name of a bucket, as in my-bucket")
	}
	checkRange(m, "RingSize", c.RingSize, minRingSize, maxRingSize, "")
	m.checkDuration("StallTimeout", c.StallTimeout, true)
	checkRange(m, "FailureLimit", c.FailureLimit, 0, maxCount, " (0 is off)")
	checkRange(m, "MaxBodySize", c.MaxBodySize, 0, math.MaxInt64, " (0 is no limit)")
	checkRange(m, "MaxHeaderSize", c.MaxHeaderSize, minHeaderSize, maxHeaderSize, "")
	checkRange(m, "MaxConcurrentRequests", c.MaxConcurrentRequests, 1, maxCount, "")
	checkRange(m, "MinClientRate", c.MinClientRate, 0, maxClientRate, " (0 is off)")
	m.checkDuration("ShutdownDelay", c.ShutdownDelay, true)
	m.checkDuration("ShutdownTimeout", c.ShutdownTimeout, true)
	if !validAlgorithm(c.CongestionControl) {
		m.add("CongestionControl", c.CongestionControl, "auto, system, or an algorithm's name, as in cubic")
	}
	m.checkPair("TLS.CertFile", c.TLS.CertFile, "TLS.KeyFile", c.TLS.KeyFile)
	m.checkTLSVersion("TLS.MinVersion", c.TLS.MinVersion)
	m.checkClientTLS("TLS.Backends", c.TLS.Backends)
	m.checkBackendTLS(c.BackendTLS, c.Backends)
	m.checkLog("Logging.Synclog", c.Logging.Synclog)
	m.checkLog("Logging.Accesslog", c.Logging.Accesslog)
	m.checkLog("Logging.Mainlog", c.Logging.Mainlog)
	if s := c.Logging.Synclog; !s.Stdout && !s.Stderr && s.File == "" && s.Syslog == "" {
		m.at("Logging.Synclog", "must go to Stdout, Stderr, File or Syslog, or divergences would be lost") // R15
	}
	if c.DataDir == "" || strings.ContainsFunc(c.DataDir, unicode.IsControl) {
		m.add("DataDir", c.DataDir, "a directory, which is created if missing")
	} else if m.mayOpen("DataDir") {
		if err := datadir.Check(c.DataDir, c.JournalDir()); err != nil {
			m.add("DataDir", c.DataDir, "a directory of the proxy's own: %v", err)
		}
	}
	m.checkOneOf("Durability", c.Durability, DurabilityProcess, DurabilityPower)
	m.checkOneOf("OnJournalError", c.OnJournalError, OnJournalErrorRefuse, OnJournalErrorContinue)
	m.checkCredentials("Credentials", c.Credentials)
	m.checkBackendCredentials(c.BackendCredentials, c.Backends)
	m.checkOneOf("Repair.Enabled", c.Repair.Enabled, RepairAuto, RepairOn, RepairOff)
	m.checkConflict(c.OnConflict, c.Backends)
	if c.Repair.Enabled == RepairOn && len(c.Backends) == 1 {
		m.add("Repair.Enabled", true, "false when there is only one backend")
	}
	m.checkConcurrency(c.Repair.Concurrency)
	checkRange(m, "Repair.ObjectsPerSecond", c.Repair.ObjectsPerSecond, 0, maxCount, " (0 is no limit)")
	m.checkRates("Repair.BytesPerSecond", c.Repair.BytesPerSecond, c.Backends)
	checkRange(m, "Repair.MaxTries", c.Repair.MaxTries, 1, maxCount, "")
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func checkRange[T int | float64 | text.ByteSize](m *mistakes, path string, n, least, most T, note string) {
	switch {
	case n >= least && n <= most:
	case any(most) == any(text.ByteSize(math.MaxInt64)):
		m.add(path, n, "at least %v%s", least, note)
	case any(most) == any(float64(most)): // of which %v makes 1e+06
		m.add(path, n, "from %v to %.0f%s", least, float64(most), note)
	default:
		m.add(path, n, "from %v to %v%s", least, most, note)
	}
}

// maxDuration is longer than anybody means to wait. A deadline some 230 years ahead would overflow, and
// lie in the past.
const maxDuration = 365 * 24 * time.Hour

func (m *mistakes) checkDuration(path string, d time.Duration, zero bool) {
	switch {
	case d > maxDuration:
		m.add(path, d, "%s", notSoLong)
	case zero && d < 0:
		m.add(path, d, "0s or longer")
	case !zero && d <= 0:
		m.add(path, d, "longer than 0s")
	}
}

func (m *mistakes) checkOneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		m.add(path, value, "one of %s", strings.Join(allowed, ", "))
	}
}

func (m *mistakes) checkAddress(path, address string) {
	switch {
	case validAddress(address):
	case validPort(address, 0):
		m.add(path, address, "host:port, or :port for all addresses, as in \":%s\"", address)
	default:
		m.add(path, address, "host:port, or :port for all addresses")
	}
}

func (m *mistakes) checkBackends(backends []string) {
	switch n := len(backends); {
	case m.broken["Backends"]:
	case n == 0:
		m.at("Backends", "none is set, must be a list of 1 to %d URLs", MaxBackends)
	case n > MaxBackends:
		m.at("Backends", "%d of them are too many, must be a list of 1 to %d URLs", n, MaxBackends)
	}
	seen := map[string]string{} // by address, and by the name used in records
	for i, s := range backends {
		path := element("Backends", i)
		u, err := parseBackend(s)
		if err != nil {
			m.add(path, s, "http://HOST[:PORT] or https://HOST[:PORT]: %v", err)
			continue
		}
		name, address := strings.ToLower(u.Host), backendAddress(u)
		if other := seen[address]; other != "" {
			m.add(path, s, "another backend than %s: both have the same address", other)
		} else if other := seen[name]; other != "" {
			m.add(path, s, "another backend than %s: both have the same name", other)
		}
		seen[name], seen[address] = path, path
	}
}

// checkOwnAddresses rejects a backend that is the proxy itself, which would send each request to
// itself endlessly.
func (m *mistakes) checkOwnAddresses(c *Config) {
	var local []string
	if !m.noFiles { // nor may a sender learn this machine's addresses (R37)
		local = localNames()
	}
	for i, s := range c.Backends {
		u, err := parseBackend(s)
		if err != nil {
			continue // reported already
		}
		switch {
		case ownAddress(c.Listen, u, local):
			m.add(element("Backends", i), s, "another address than the proxy's own: Listen has %q", c.Listen)
		case c.MetricsListen != "" && ownAddress(c.MetricsListen, u, local):
			m.add(element("Backends", i), s, "another address than the proxy's own: MetricsListen has %q", c.MetricsListen)
		case c.AdminListen != "" && ownAddress(c.AdminListen, u, local):
			m.add(element("Backends", i), s, "another address than the proxy's own: AdminListen has %q", c.AdminListen)
		}
	}
}

// checkPlaceholders rejects text that the operator expects to be expanded: only AKUBRA_ variables
// are.
func (m *mistakes) checkPlaceholders(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			m.checkPlaceholders(join(path, v.Type().Field(i).Tag.Get("koanf")), v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			m.checkPlaceholders(element(path, i), v.Index(i))
		}
	case reflect.Map:
		for _, key := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
			m.checkPlaceholders(path+"["+key.String()+"]", v.MapIndex(key))
		}
	case reflect.String:
		if problem := placeholderIn(path, v); problem != "" {
			m.add(path, v.Interface(), "written out: %s", problem)
			m.broken[path] = true
		}
	}
}

// placeholderIn says which part of a text would not be expanded. A secret may contain anything, but
// must not consist of just a variable.
func placeholderIn(path string, v reflect.Value) string {
	s := v.String()
	_, key := splitPath(path)
	switch {
	case v.Type() == reflect.TypeFor[secret]():
		if onlyVariable.MatchString(s) {
			return "variables are not expanded here, but AKUBRA_ variables set keys"
		}
	case braced.MatchString(s):
		return "variables are not expanded here, but AKUBRA_ variables set keys"
	case key != "DataDir" && !strings.HasSuffix(key, "File"):
	case s == "~" || strings.HasPrefix(s, "~/") || homeOf.MatchString(s):
		return "~ is not expanded"
	case variableInPath.MatchString(s):
		return "variables are not expanded here, but AKUBRA_ variables set keys"
	case strings.Contains(s, "://"):
		return "it is a path, without a scheme"
	}
	return ""
}

var (
	braced         = regexp.MustCompile(`\$\{[A-Za-z_][^}]*\}|\{\{.*\}\}`)
	onlyVariable   = regexp.MustCompile(`^(\$\{[A-Za-z_][^}]*\}|\$[A-Z_]{2,}|\{\{.*\}\})$`)
	variableInPath = regexp.MustCompile(`(^|/)\$[A-Za-z_(]`)
	homeOf         = regexp.MustCompile(`^~[A-Za-z_][A-Za-z0-9_-]*(/|$)`)
)

func (m *mistakes) checkMaintained(maintained oneOrMany, backends []string) {
	if len(backends) == 0 {
		return // reported already
	}
	left := slices.Clone(backends)
	for i, s := range maintained {
		path := element("MaintainedBackend", i)
		if len(maintained) == 1 && !m.broken[path] {
			path = "MaintainedBackend" // it may have been written as a single value
		}
		same := func(b string) bool { return sameBackend(b, s) }
		if !slices.ContainsFunc(backends, same) {
			m.add(path, s, "one of Backends")
		}
		left = slices.DeleteFunc(left, same)
	}
	if len(left) == 0 {
		m.add("MaintainedBackend", []string(maintained), "fewer than all of Backends")
	}
}

// maxWeight is the most that a backend may weigh.
const maxWeight = 1000

func (m *mistakes) checkReadFrom(weights map[string]string, backends []string) {
	seen := []string{}
	for _, of := range slices.Sorted(maps.Keys(weights)) {
		at := "ReadFrom[" + of + "]"
		same := func(b string) bool { return sameBackend(b, of) }
		switch n, err := strconv.Atoi(weights[of]); {
		case len(backends) > 0 && !slices.ContainsFunc(backends, same):
			m.add(at, weights[of], "the weight of one of Backends")
		case slices.ContainsFunc(seen, same):
			m.add(at, weights[of], "the weight of another backend: this one has one already")
		case err != nil || n < 0 || n > maxWeight || !isDecimal(weights[of]):
			m.add(at, weights[of], "%s", decimally(weights[of], fmt.Sprintf("a whole number from 0 to %d", maxWeight)))
		}
		seen = append(seen, of)
	}
}

func (m *mistakes) checkPrimary(primary oneOrMany, backends []string) {
	for i, s := range primary {
		at := element("Primary", i)
		if len(primary) == 1 && !m.broken[at] {
			at = "Primary" // it may have been written without a list
		}
		pattern, backend := splitPrimary(s)
		_, err := path.Match(pattern, "")
		if err != nil || strings.Contains(s, "=") && pattern == "" ||
			len(backends) > 0 && !slices.ContainsFunc(backends, func(b string) bool { return sameBackend(b, backend) }) {
			m.add(at, s, "one of Backends, or a pattern of buckets and one of them, as in logs-*=http://s3.example.com:9000")
		}
	}
}

func (m *mistakes) checkHeaders(path string, headers map[string]string) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at, lower := path+"["+name+"]", strings.ToLower(name)
		switch {
		case !validToken(name):
			m.add(at, name, "a header's name: letters, digits and !#$%%&'*+-.^_`|~")
		case slices.Contains(ownHeaders, lower):
			m.add(at, name, "another header: this one is the proxy's own")
		case seen[lower] != "":
			m.add(at, name, "another header than %s", seen[lower])
		}
		seen[lower] = name
		if !validHeaderValue(headers[name]) {
			m.add(at, headers[name], "a header's value: %s", oneLine)
		}
	}
}

// checkPair rejects a certificate without its key, and the other way round.
func (m *mistakes) checkPair(certPath, certFile, keyPath, keyFile string) {
	switch {
	case certFile == "" && keyFile == "":
		return
	case certFile == "":
		m.add(certPath, "", "the certificate of %s", keyPath)
	case keyFile == "":
		m.add(keyPath, "", "the key of %s", certPath)
	}
	readable := true
	for _, f := range [][2]string{{certPath, certFile}, {keyPath, keyFile}} {
		if path, file := f[0], f[1]; file == "" {
			readable = false
		} else if !m.mayOpen(path) {
			readable = false
		} else if _, err := readPEM(file); err != nil {
			readable = false
			m.add(path, file, "a PEM file: %v", err)
		}
	}
	if !readable {
		return
	}
	switch ofKey, problem := pairProblem(certFile, keyFile); {
	case problem == "":
	case ofKey:
		m.add(keyPath, keyFile, "a private key: %s", problem)
	default:
		m.add(certPath, certFile, "the certificate to the key in %s: %s", keyPath, problem)
	}
}

func (m *mistakes) checkLog(path string, o LogOutput) {
	if validLevel(o.Level) != nil {
		m.add(path+".Level", o.Level, "one of %s", strings.Join(levels, ", "))
	}
	if err := validFacility(o.Syslog); err != nil {
		m.add(path+".Syslog", o.Syslog, "empty or a facility: %v", err)
	}
}
