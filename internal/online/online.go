// Package online examines the backends (R21): whether each can be reached, the state of its
// certificate, clock and keys, and where the backends differ: buckets, versioning, whether
// conditional writes are honored.
//
// Check only reads, except for conditional writes, which cannot be examined otherwise: it writes
// one small object to a bucket that keeps no versions, and deletes it again. It starts goroutines
// for the backends, which have ended when it returns.
package online

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/health"
	"github.com/akubra/akubra/synclog/repair/client"
)

// Limits of what counts as good.
const (
	clockWarned  = time.Minute      // a larger difference matters to readers of timestamps
	clockRefused = 15 * time.Minute // from here on S3 refuses signatures
	expirySoon   = 14 * 24 * time.Hour
	maxDocument  = 4 << 20
	maxBuckets   = 1000 // examined one by one
)

// Options say what to examine.
type Options struct {
	Backends []client.Options
	// Unsigned is why a backend has no keys, by backend; "" if it has.
	Unsigned []string
	// Bucket is where conditional writes are tried; "" means any bucket that keeps no versions.
	// With ReadOnly they are not tried.
	Bucket   string
	ReadOnly bool
	Now      func() time.Time // nil means time.Now
}

// Report is what was found about one backend. A text that is "" was not examined.
type Report struct {
	Name, URL  string
	Dial       string
	TLS        string
	Clock      string
	Signed     string
	Buckets    []string
	Missing    []string // buckets that other backends have
	Conditions string
	Versioning map[string]string // by bucket
	// Problems keep the backend from working; Warnings might.
	Problems, Warnings []string

	listed  bool   // Buckets is known
	address string // that was dialed
}

type check struct {
	o       Options
	reports []Report
	clients []*client.Client
}

// Check examines all backends.
func Check(ctx context.Context, o Options) ([]Report, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &check{o: o, reports: make([]Report, len(o.Backends)), clients: make([]*client.Client, len(o.Backends))}
	for i := range o.Backends {
		b := o.Backends[i]
		c.reports[i] = Report{Name: b.Name, URL: b.URL, Versioning: map[string]string{}}
		var err error
		if c.clients[i], err = client.New(b); err != nil {
			return nil, err // none has dialed yet
		}
	}
	defer func() {
		for _, client := range c.clients {
			client.Close()
		}
	}()
	c.each(func(i int) {
		if c.connect(ctx, i) {
			c.sign(ctx, i)
		}
	})
	c.compareAddresses()
	c.compareBuckets()
	c.each(func(i int) { c.versioning(ctx, i) })
	c.compareVersioning()
	if bucket, why := c.conditionsBucket(); bucket == "" {
		told := c.o.ReadOnly
		for i := range c.reports {
			if r := &c.reports[i]; r.listed {
				r.Conditions = "not tried"
				if !told {
					r.warn("did not try whether it honors conditional writes: %s", why)
				}
				told = true // the reason is the same for all
			}
		}
	} else {
		c.each(func(i int) { c.conditions(ctx, i, bucket) })
	}
	return c.reports, nil
}

// each calls f for every backend, concurrently.
func (c *check) each(f func(i int)) {
	var all sync.WaitGroup
	for i := range c.reports {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, r.text(format, args))
}

func (r *Report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, r.text(format, args))
}

// text leaves out the backend's name where the client's errors have it: whoever shows a report says
// it first.
func (r *Report) text(format string, args []any) string {
	said := fmt.Sprintf(format, args...)
	if r.Name == "" {
		return said
	}
	return strings.ReplaceAll(said, fmt.Sprintf("backend %q answered", r.Name), "it answered")
}

// connect dials and does the TLS handshake.
func (c *check) connect(ctx context.Context, i int) bool {
	r, o := &c.reports[i], &c.o.Backends[i]
	u, err := url.Parse(o.URL)
	if err != nil {
		r.problem("it has no valid URL: %v", err)
		return false
	}
	secure := u.Scheme == "https"
	port := cmp.Or(u.Port(), map[bool]string{false: "80", true: "443"}[secure])
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	began := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		_, means := health.Explain(err)
		r.Dial = "failed"
		r.problem("cannot be reached: %s (%v)", means, err)
		return false
	}
	defer conn.Close()
	r.address = conn.RemoteAddr().String()
	r.Dial = fmt.Sprintf("%s, %v", r.address, time.Since(began).Round(100*time.Microsecond))
	if !secure {
		r.TLS = "none"
		return true
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		conf = o.TLS.Clone()
	}
	conf.ServerName = cmp.Or(conf.ServerName, u.Hostname())
	tc := tls.Client(conn, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		_, means := health.Explain(err)
		r.TLS = "failed"
		r.problem("TLS fails: %s (%v)", means, err)
		return false
	}
	r.certificate(tc.ConnectionState(), conf.InsecureSkipVerify, c.o.Now())
	return true
}

func (r *Report) certificate(s tls.ConnectionState, unverified bool, now time.Time) {
	cert := s.PeerCertificates[0]
	r.TLS = fmt.Sprintf("%s, until %s", tls.VersionName(s.Version), cert.NotAfter.UTC().Format(time.DateOnly))
	if unverified {
		r.TLS += ", not verified"
		r.warn("any certificate is accepted (InsecureSkipVerify)")
	}
	if left := cert.NotAfter.Sub(now); left < expirySoon {
		r.warn("its certificate %q expires on %s", cert.Subject, cert.NotAfter.UTC().Format(time.RFC3339))
	}
}

// sign sends a signed `GET /`, whose response also shows the clock.
func (c *check) sign(ctx context.Context, i int) {
	r := &c.reports[i]
	sent := c.o.Now()
	body, header, err := c.clients[i].Document(ctx, &client.Request{Method: http.MethodGet}, maxDocument)
	got := c.o.Now()
	var answer *client.Error
	if errors.As(err, &answer) {
		header = answer.Header
	}
	r.clock(header.Get("Date"), sent, got)
	switch why := c.o.Unsigned[i]; {
	case why != "" && (err == nil || answer != nil):
		r.Signed = "no keys"
		r.problem("cannot sign a request: %s", why)
		return
	case err != nil:
		r.Signed = "refused"
		if answer == nil {
			r.Signed = "failed"
		}
		r.problem("%s", c.whyRefused(i, err))
		return
	}
	var doc struct {
		XMLName xml.Name
		Buckets struct {
			Bucket []struct{ Name string }
		}
	}
	if err := xml.Unmarshal(body, &doc); err != nil || doc.XMLName.Local != "ListAllMyBucketsResult" {
		r.Signed = "no S3"
		r.problem("its response to GET / is not a list of buckets: is it an S3 backend?")
		return
	}
	r.Signed, r.listed = "ok", true
	for _, b := range doc.Buckets.Bucket {
		r.Buckets = append(r.Buckets, b.Name)
	}
	slices.Sort(r.Buckets)
	c.region(ctx, i)
}

// region asks for a bucket that nobody has: some backends (MinIO) list their buckets for signatures
// of any region, but refuse everything else.
func (c *check) region(ctx context.Context, i int) {
	r := &c.reports[i]
	_, _, err := c.clients[i].Document(ctx, &client.Request{
		Method: http.MethodGet, Bucket: "akubra-check-" + strings.ToLower(rand.Text()), Query: []client.Param{{Name: "versioning"}},
	}, maxDocument)
	if c.wrongRegion(err) {
		r.Signed, r.listed, r.Buckets = "refused", false, nil
		r.problem("%s", c.whyRefused(i, err))
	}
}

// wrongRegion reports whether a request was refused because of the region that it was signed for.
func (c *check) wrongRegion(err error) bool {
	lower := ""
	if err != nil {
		lower = strings.ToLower(err.Error())
	}
	status := client.Status(err)
	return client.HasCode(err, "AuthorizationHeaderMalformed", "InvalidRegion", "IllegalLocationConstraintException", "PermanentRedirect") ||
		status == http.StatusMovedPermanently ||
		status/100 == 4 && (strings.Contains(lower, "region") || strings.Contains(lower, "credential should be scoped"))
}

// clock compares the Date of a response with this machine's clock. It is truncated to the second,
// and some servers (fasthttp's) make it once a second only, so it may be nearly two seconds old.
func (r *Report) clock(date string, sent, got time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		if date == "" {
			r.Clock = "not told"
		}
		return
	}
	offset := theirs.Add(500 * time.Millisecond).Sub(sent.Add(got.Sub(sent) / 2))
	if offset.Abs() <= 2*time.Second+got.Sub(sent) {
		r.Clock = "ok"
		return
	}
	ahead, of := "ahead", "ahead of"
	if offset < 0 {
		ahead, of = "behind", "behind"
	}
	unit := time.Second
	if offset.Abs() >= time.Minute {
		unit = 10 * time.Second // it is not known better: the response may have taken a while
	}
	by := offset.Abs().Round(unit)
	r.Clock = fmt.Sprintf("%v %s", by, ahead)
	switch {
	case offset.Abs() >= clockRefused:
		r.problem("its clock is %v %s this machine's: signatures are refused from %v on; which of the two is wrong?", by, of, clockRefused)
	case offset.Abs() >= clockWarned:
		r.warn("its clock is %v %s this machine's", by, of)
	}
}

// whyRefused explains the refusal of a signed request in an operator's words.
func (c *check) whyRefused(i int, err error) string {
	region := c.clients[i].Region()
	lower := strings.ToLower(err.Error())
	switch {
	case client.HasCode(err, "InvalidAccessKeyId"), client.Status(err)/100 == 4 && strings.Contains(lower, "no user exists"): // versitygw
		return fmt.Sprintf("its AccessKey is wrong: %v", err)
	case client.HasCode(err, "RequestTimeTooSkewed", "RequestExpired"):
		return fmt.Sprintf("it refuses the time of the signature; compare the clocks: %v", err)
	case c.wrongRegion(err):
		return fmt.Sprintf("its region is not %q: clients sign for one region, so all backends should have the same; Region in BackendCredentials helps only repair: %v", region, err)
	case client.HasCode(err, "SignatureDoesNotMatch"):
		return fmt.Sprintf("its SecretKey is wrong (or its region is not %q): %v", region, err)
	case client.HasCode(err, "ExpiredToken", "InvalidToken", "TokenRefreshRequired"):
		return fmt.Sprintf("its session token is not valid: %v", err)
	case client.Status(err) == http.StatusUnauthorized || client.Status(err) == http.StatusForbidden:
		return fmt.Sprintf("its keys are wrong, or may not list buckets: %v", err)
	case client.Status(err) != 0:
		return fmt.Sprintf("it refuses a signed GET /: %v", err)
	}
	_, means := health.Explain(err)
	return fmt.Sprintf("it does not answer a signed GET /: %s (%v)", means, err)
}

// States of a bucket's versioning beside S3's own.
const (
	versioningOff     = "off"
	versioningUnknown = "unknown"
)

func (c *check) versioning(ctx context.Context, i int) {
	r := &c.reports[i]
	for _, bucket := range r.Buckets[:min(len(r.Buckets), maxBuckets)] {
		body, _, err := c.clients[i].Document(ctx, &client.Request{
			Method: http.MethodGet, Bucket: bucket, Query: []client.Param{{Name: "versioning"}},
		}, maxDocument)
		var doc struct{ Status string }
		switch {
		case client.Unsupported(err):
			r.Versioning[bucket] = versioningOff
		case err != nil:
			r.Versioning[bucket] = versioningUnknown
			r.warn("the versioning of bucket %q cannot be read: %v", bucket, err)
		case xml.Unmarshal(body, &doc) != nil:
			r.Versioning[bucket] = versioningUnknown
		default:
			r.Versioning[bucket] = cmp.Or(strings.ToLower(doc.Status), versioningOff)
		}
	}
}

// conditionsBucket returns a bucket in which conditional writes can be tried on all backends that
// have keys, or why there is none.
func (c *check) conditionsBucket() (bucket, why string) {
	if c.o.ReadOnly {
		return "", "nothing may be written"
	}
	if c.o.Bucket != "" {
		return c.o.Bucket, ""
	}
	why = "there is no bucket that all backends have"
	for i := range c.reports {
		if !c.reports[i].listed {
			continue
		}
	buckets:
		for _, b := range c.reports[i].Buckets {
			for j := range c.reports {
				if r := &c.reports[j]; r.listed && !slices.Contains(r.Buckets, b) {
					continue buckets
				}
			}
			for j := range c.reports {
				if r := &c.reports[j]; r.listed && r.Versioning[b] != versioningOff {
					why = "every common bucket may keep versions, which a trial might leave behind; use --bucket to choose one anyway"
					continue buckets
				}
			}
			return b, ""
		}
		break
	}
	return "", why
}
