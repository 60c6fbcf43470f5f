package online

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/s3mem"
	"github.com/akubra/akubra/synclog/repair/client"
)

// storage is an S3 backend with its own keys.
type storage struct {
	*s3mem.Storage
	access, secret, region string
	clock                  time.Duration // how far it is ahead
	buckets                []string
	lists                  bool // whatever the region
}

func newStorage(m s3mem.Manners, buckets ...string) *storage {
	s := &storage{Storage: s3mem.New("s", m), access: "AK", secret: "SK", region: "us-east-1", clock: m.Clock, buckets: buckets}
	for _, b := range buckets {
		s.MakeBucket(b, strings.HasSuffix(b, "-versioned"), false)
	}
	return s
}

// ServeHTTP checks the credentials first, as backends do, though not the signature itself.
func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now().Add(s.clock)
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	refuse := func(status int, code, message string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	}
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope := strings.Split(credential, "/")
	signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case len(scope) < 5:
		refuse(403, "AccessDenied", "no signature")
	case scope[0] != s.access:
		refuse(403, "InvalidAccessKeyId", "no such key")
	case err != nil || now.Sub(signed).Abs() > 15*time.Minute:
		refuse(403, "RequestTimeTooSkewed", "the time")
	case s.secret == "other":
		refuse(403, "SignatureDoesNotMatch", "the signature")
	case scope[2] != s.region && !(s.lists && r.URL.Path == "/"):
		refuse(400, "AuthorizationHeaderMalformed", "the region is wrong; expecting "+s.region)
	case r.URL.Path == "/":
		type bucket struct{ Name string }
		doc := struct {
			XMLName xml.Name `xml:"ListAllMyBucketsResult"`
			Buckets struct{ Bucket []bucket }
		}{}
		for _, b := range s.buckets {
			doc.Buckets.Bucket = append(doc.Buckets.Bucket, bucket{b})
		}
		_ = xml.NewEncoder(w).Encode(&doc)
	default:
		s.Storage.ServeHTTP(w, r)
	}
}

// checkAll checks these backends, of which the first is healthy.
func checkAll(t *testing.T, o Options, all ...http.Handler) []Report {
	t.Helper()
	for _, h := range all {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		o.Backends = append(o.Backends, options(s.URL))
	}
	return run(t, o)
}

func run(t *testing.T, o Options) []Report {
	t.Helper()
	o.Unsigned = append(o.Unsigned, make([]string, len(o.Backends)-len(o.Unsigned))...)
	reports, err := Check(context.Background(), o)
	testkit.MustDo(t, err)
	return reports
}

func options(url string) client.Options {
	_, name, _ := strings.Cut(url, "://")
	return client.Options{Name: name, URL: url, AccessKey: "AK", SecretKey: "SK", DialTimeout: 10 * time.Second, Timeout: 10 * time.Second}
}

// TestR21OnlineNamesWhatIsWrong: one of two backends has something wrong.
func TestR21OnlineNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		second  func() *storage
		problem string // of the second one; "" means none
		warning string
		want    func(r *Report) bool
	}{
		"nothing": {func() *storage { return newStorage(s3mem.Manners{}, "one", "two") }, "", "",
			func(r *Report) bool {
				return r.Signed == "ok" && r.Clock == "ok" && r.Conditions == "kept" && r.Versioning["two"] == "off"
			}},
		"wrong key": {func() *storage { s := newStorage(s3mem.Manners{}, "one", "two"); s.access = "other"; return s }, "its AccessKey is wrong: ", "",
			func(r *Report) bool { return r.Signed == "refused" }},
		"wrong secret": {func() *storage { s := newStorage(s3mem.Manners{}, "one", "two"); s.secret = "other"; return s }, "its SecretKey is wrong ", "",
			func(r *Report) bool { return r.Signed == "refused" }},
		"wrong region": {func() *storage { s := newStorage(s3mem.Manners{}, "one", "two"); s.region = "moon-1"; return s },
			`its region is not "us-east-1": clients sign for one region`, "", func(r *Report) bool { return r.Signed == "refused" }},
		"wrong region, but it lists": {func() *storage {
			s := newStorage(s3mem.Manners{}, "one", "two")
			s.region, s.lists = "moon-1", true
			return s
		}, `its region is not "us-east-1": clients sign for one region`, "", func(r *Report) bool { return r.Signed == "refused" }},
		"clock an hour off": {func() *storage { return newStorage(s3mem.Manners{Clock: time.Hour}, "one", "two") },
			"its clock is 1h0m0s ahead of this machine's", "", func(r *Report) bool { return r.Clock == "1h0m0s ahead" }},
		"clock an hour behind": {func() *storage { return newStorage(s3mem.Manners{Clock: -time.Hour}, "one", "two") },
			"its clock is 1h0m0s behind this machine's", "", func(r *Report) bool { return r.Clock == "1h0m0s behind" }},
		"clock two minutes off": {func() *storage { return newStorage(s3mem.Manners{Clock: 2 * time.Minute}, "one", "two") },
			"", "its clock is 2m0s ahead", func(r *Report) bool { return r.Signed == "ok" }},
		"bucket missing": {func() *storage { return newStorage(s3mem.Manners{}, "two") }, "it lacks buckets that other backends have: one", "",
			func(r *Report) bool { return slices.Equal(r.Missing, []string{"one"}) && r.Conditions == "kept" }},
		"conditions ignored": {func() *storage { return newStorage(s3mem.Manners{IgnoresConditions: true}, "one", "two") },
			"it ignores conditional writes", "", func(r *Report) bool { return r.Conditions == "ignored" }},
		"versioning": {func() *storage {
			s := newStorage(s3mem.Manners{}, "one", "two")
			s.MakeBucket("one", true, false)
			return s
		}, "", `versioning of bucket "one" is enabled, and off on`, func(r *Report) bool { return r.Conditions == "kept" && r.Versioning["one"] == "enabled" }},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := newStorage(s3mem.Manners{}, "one", "two"), c.second()
			reports := checkAll(t, Options{}, first, second)
			if r := &reports[0]; r.Signed != "ok" || r.Conditions != "kept" {
				t.Errorf("the first one: %+v", r)
			}
			r := &reports[1]
			said := strings.Join(r.Problems, "\n")
			if strings.Contains(said, r.Name) {
				t.Errorf("problems %q have the backend's name, which stands before them", said)
			}
			if (c.problem == "") != (said == "") || !strings.Contains(said, c.problem) || !c.want(r) {
				t.Errorf("problems %q, want %q; %+v", said, c.problem, r)
			}
			if warned := strings.Join(r.Warnings, "\n"); !strings.Contains(warned, c.warning) {
				t.Errorf("warnings %q, want %q", warned, c.warning)
			}
			for _, s := range []*storage{first, second} { // nothing is left behind
				for _, b := range s.buckets {
					if keys := s.Bucket(b).Keys; len(keys) > 0 {
						t.Errorf("bucket %s has %v", b, keys)
					}
				}
			}
		})
	}
}

// TestR21OnlineWrites: conditional writes are tried where no versions stay behind, or where told
// to, or not at all.
func TestR21OnlineWrites(t *testing.T) {
	for name, c := range map[string]struct {
		o       Options
		buckets []string
		want    string
	}{
		"read only":     {Options{ReadOnly: true}, []string{"one"}, "not tried"},
		"versions only": {Options{}, []string{"a-versioned"}, "not tried"},
		"all the same":  {Options{Bucket: "a-versioned"}, []string{"a-versioned"}, "kept"},
		"no buckets":    {Options{}, nil, "not tried"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(s3mem.Manners{}, c.buckets...)
			r := checkAll(t, c.o, s)[0]
			if r.Conditions != c.want || len(r.Problems) > 0 {
				t.Errorf("%+v, want %q", r, c.want)
			}
			for _, b := range c.buckets {
				if keys := s.Bucket(b).Keys; len(keys) > 0 {
					t.Errorf("bucket %s has %v", b, keys)
				}
			}
		})
	}
}

// TestR21OnlineTwoNames: two names of one address, which only a look-up tells, may be two names of one storage.
func TestR21OnlineTwoNames(t *testing.T) {
	var urls []string
	for range 2 {
		s := httptest.NewServer(newStorage(s3mem.Manners{}, "one"))
		t.Cleanup(s.Close)
		urls = append(urls, s.URL)
	}
	again := options(strings.Replace(urls[0], "127.0.0.1", "[::ffff:127.0.0.1]", 1))
	reports := run(t, Options{Backends: []client.Options{options(urls[0]), options(urls[1]), again}, ReadOnly: true})
	want := "it is at the same address as " + reports[0].Name
	for i := range reports {
		said := strings.Join(reports[i].Warnings, "\n")
		if (i == 2) != strings.Contains(said, want) || len(reports[i].Problems) > 0 {
			t.Errorf("%d: warnings %q, problems %q; the last one wants %q", i, said, reports[i].Problems, want)
		}
	}
}

func TestR21OnlineUnreached(t *testing.T) {
	ok := newStorage(s3mem.Manners{}, "one")
	dir := t.TempDir()
	good, goodKey := testkit.MustWritePair(t, dir, "127.0.0.1")
	secure := func(pair tls.Certificate) string {
		s := httptest.NewUnstartedServer(ok)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{pair}}, nil
		}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}
	testkit.MustDo(t, os.Mkdir(dir+"/other", 0o700))
	bad, badKey := testkit.MustWritePair(t, dir+"/other", "127.0.0.1")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(testkit.MustReadFile(t, good)))
	trusting := func(url string) client.Options {
		o := options(url)
		o.TLS = &tls.Config{RootCAs: pool}
		return o
	}
	plain := httptest.NewServer(ok)
	t.Cleanup(plain.Close)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello</html>") }))
	t.Cleanup(web.Close)
	reports := run(t, Options{
		Backends: []client.Options{
			trusting(secure(testkit.MustLoadPair(t, good, goodKey))), trusting(secure(testkit.MustLoadPair(t, bad, badKey))),
			trusting(strings.Replace(plain.URL, "http:", "https:", 1)), options("http://" + testkit.MustFreeAddr(t)), options(web.URL), options(plain.URL),
		},
		Unsigned: []string{"", "", "", "", "", "no keys are there"},
	})
	for i, want := range []string{
		"", "not signed by a trusted authority", "does not speak TLS on this port", "refuses connections", "not a list of buckets", "cannot sign a request: no keys are there",
	} {
		said := strings.Join(reports[i].Problems, "\n")
		if (want == "") != (said == "") || !strings.Contains(said, want) {
			t.Errorf("%d: problems %q, want %q", i, said, want)
		}
	}
	for _, r := range run(t, Options{Backends: []client.Options{options(plain.URL)}, Unsigned: []string{""}, Bucket: "none"}) {
		if r.Conditions != ConditionsUnknown || len(r.Problems) != 1 || !strings.HasSuffix(r.Problems[0], `: it has no bucket "none"`) || r.Warnings != nil {
			t.Errorf("where nobody has the bucket: %+v", r)
		}
	}
	if r := reports[0]; !strings.HasPrefix(r.TLS, "TLS 1.3, until ") || !strings.Contains(strings.Join(r.Warnings, " "), "expires on") || r.Conditions != "kept" {
		t.Errorf("the first one: %+v", r)
	}
}

// The Date of a backend whose clock is right may be nearly two seconds old.
func TestClockThatIsRight(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 999e6, time.UTC)
	for ago, want := range map[time.Duration]string{
		0: "ok", 999 * time.Millisecond: "ok", 1900 * time.Millisecond: "ok", -time.Second: "ok",
		4 * time.Second: "4s behind", time.Hour - 2*time.Second: "1h0m0s behind", -4 * time.Second: "4s ahead", time.Hour: "1h0m0s behind",
	} {
		var r Report
		r.clock(now.Add(-ago).Format(http.TimeFormat), now, now)
		if r.Clock != want {
			t.Errorf("made %v ago: %q, want %q", ago, r.Clock, want)
		}
	}
}
