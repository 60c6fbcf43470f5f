// Package deploy has what runs a proxy and watches it: units of systemd, alert rules, a board. Its tests hold
// rules and board to what a running proxy shows.
package deploy

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v3"

	"github.com/akubra/akubra/backends/stub"
	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/logs"
	"github.com/akubra/akubra/internal/metrics"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/synclog/repair"
)

const token = "0123456789abcdef"

// scraped is what a proxy shows in which everything has happened that a metric tells of.
type scraped struct {
	text    string
	samples []sample
}

type sample struct {
	name   string
	labels map[string]string
}

// mustScrape runs a proxy with TLS, keys, and one of two backends down.
func mustScrape(t *testing.T) scraped {
	t.Helper()
	dir := t.TempDir()
	good, bad := stub.New(t, stub.KeepRequests(100)), stub.New(t, stub.KeepRequests(100))
	c := config.Default()
	c.Listen, c.AdminListen, c.MetricsListen, c.DataDir = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "data")
	c.Backends, c.MetricsToken = []string{good.URL(), bad.URL()}, token
	c.TLS.CertFile, c.TLS.KeyFile = testkit.MustWritePair(t, dir, "127.0.0.1")
	c.Credentials.AccessKey, c.Credentials.SecretKey, c.Repair.Concurrency = "key", "secret", "1"
	c.Logging.Mainlog = config.LogOutput{File: filepath.Join(dir, "main.log"), Level: "info"}
	c.Logging.Synclog = config.LogOutput{File: filepath.Join(dir, "sync.log"), Level: "info"}
	testkit.MustDo(t, c.Complete())
	l, err := logs.Open(c.Logging)
	testkit.MustDo(t, err)
	t.Cleanup(func() { testkit.MustDo(t, l.Close()) })
	p, err := service.New(c, l, "test")
	testkit.MustDo(t, err)
	testkit.MustDo(t, p.Start())
	t.Cleanup(p.Stop)
	testkit.MustDo(t, service.KeepVerified(c, repair.VerifySummary{Keys: 7, Differences: 1, Errors: 2}, true))

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: testkit.Patience} //nolint:gosec // its own certificate
	t.Cleanup(client.CloseIdleConnections)
	put := func(n int) {
		req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("https://%s/b/k%d", p.Addr(), n), strings.NewReader("content"))
		testkit.MustDo(t, err)
		resp, err := client.Do(req)
		testkit.MustDo(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		testkit.MustDo(t, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("PUT: %s", resp.Status)
		}
	}
	for n := range 20 { // so that connections are idle, and lags known
		put(n)
	}
	var s scraped
	scrape := func() string {
		req, err := http.NewRequest(http.MethodGet, "http://"+p.MetricsAddr()+"/metrics", http.NoBody)
		testkit.MustDo(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		testkit.MustDo(t, err)
		text, err := io.ReadAll(resp.Body)
		testkit.MustDo(t, err, resp.Body.Close())
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("GET /metrics: %s: %s", resp.Status, text)
		}
		return string(text)
	}
	testkit.Eventually(t, "both backends have everything", func() bool { return strings.Contains(scrape(), "\nakubra_requests_in_flight 0\n") })
	bad.Down()
	put(20)
	testkit.Eventually(t, "the metrics tell of the backend that is down", func() bool {
		s.text = scrape()
		return strings.Contains(s.text, "akubra_backend_failure_info{") && strings.Contains(s.text, "akubra_backend_last_error_timestamp_seconds{") &&
			strings.Contains(s.text, fmt.Sprintf("akubra_journal_pending{backend=%q} 1\n", bad.Addr())) &&
			strings.Contains(s.text, fmt.Sprintf("akubra_backend_owed_bytes{backend=%q} 7\n", bad.Addr()))
	})
	for series := range testkit.MustParseMetrics(t, s.text) {
		s.samples = append(s.samples, sampleOf(series))
	}
	return s
}

var labelPair = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)

func sampleOf(series string) sample {
	name, labels, _ := strings.Cut(series, "{")
	// What a scraper adds.
	s := sample{name, map[string]string{"instance": "127.0.0.1:8071", "job": "akubra"}}
	for _, m := range labelPair.FindAllStringSubmatch(labels, -1) {
		s.labels[m[1]] = m[2]
	}
	return s
}

// TestMetricsAreClean lints what a running proxy shows, and holds it to the list of its metrics in both
// directions: docs/METRICS.md is held to that list.
func TestMetricsAreClean(t *testing.T) {
	t.Parallel()
	s := mustScrape(t)
	problems, err := promlint.New(strings.NewReader(s.text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	shown := map[string]bool{}
	for _, sample := range s.samples {
		shown[familyOf(sample.name)] = true
	}
	for i := range metrics.Families {
		f := &metrics.Families[i]
		// Whether a connection is idle just now, and whether a leg ended after its client was answered, is chance;
		// the first is known on Linux alone.
		if !shown[f.Name] && f.Name != "akubra_backend_round_trip_seconds" && f.Name != "akubra_backend_lag_floor_seconds" {
			t.Errorf("%s is not shown", f.Name)
		}
		delete(shown, f.Name)
	}
	for name := range shown {
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is shown, and not in the list", name)
		}
	}
}

// familyOf is a sample's metric: a histogram's samples have names of their own.
func familyOf(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && known(base) != nil {
			return base
		}
	}
	return name
}

func known(name string) *metrics.Family {
	for i := range metrics.Families {
		if metrics.Families[i].Name == name {
			return &metrics.Families[i]
		}
	}
	return nil
}

// functions are those that Prometheus has as well: vmalert and Grafana with VictoriaMetrics know more.
var functions = []string{"absent", "deriv", "histogram_quantile", "increase", "rate", "sum", "time"}

// check reports what is wrong with a query: names, labels and values that do not exist.
func (s *scraped) check(query string) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	e, err := metricsql.Parse(query)
	if err != nil {
		return []string{err.Error()}
	}
	labels, grouped := map[string]bool{}, map[string]bool{}
	selectors := 0
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			for _, filters := range e.LabelFilterss {
				selectors++
				s.match(filters, labels, wrong)
			}
		case *metricsql.FuncExpr:
			if !slices.Contains(functions, e.Name) {
				wrong("function %q is not known to Prometheus", e.Name)
			}
		case *metricsql.AggrFuncExpr:
			if !slices.Contains(functions, e.Name) {
				wrong("function %q is not known to Prometheus", e.Name)
			}
			for _, label := range e.Modifier.Args {
				grouped[label] = true
			}
		case *metricsql.BinaryOpExpr:
			for _, label := range e.GroupModifier.Args {
				grouped[label] = true
			}
		}
	})
	if selectors == 0 {
		wrong("it names no metric")
	}
	for label := range grouped {
		if !labels[label] {
			wrong("no metric of it has the label %q", label)
		}
	}
	return problems
}

// match looks for samples that a selector selects, and adds their labels.
func (s *scraped) match(filters []metricsql.LabelFilter, labels map[string]bool, wrong func(string, ...any)) {
	name := ""
	for _, f := range filters {
		if f.Label == "__name__" && !f.IsNegative && !f.IsRegexp {
			name = f.Value
		}
	}
	found, selected := false, false
	of := map[string]bool{}
	for _, sample := range s.samples {
		if sample.name != name {
			continue
		}
		found = true
		matches := true
		for label := range sample.labels {
			of[label] = true
		}
		for _, f := range filters {
			if f.Label == "__name__" {
				continue
			}
			is := sample.labels[f.Label] == f.Value
			if f.IsRegexp {
				is = regexp.MustCompile("^(?:" + f.Value + ")$").MatchString(sample.labels[f.Label])
			}
			matches = matches && is != f.IsNegative
		}
		selected = selected || matches
	}
	if f := known(name); !found && f != nil && f.Kind != "histogram" { // one that need not have a sample
		found, selected = true, true
		for _, label := range append(strings.Split(f.Labels, ","), "instance", "job") {
			of[label] = true
		}
	}
	for _, f := range filters {
		if found && f.Label != "__name__" && !of[f.Label] {
			wrong("%s has no label %q", name, f.Label)
		}
	}
	switch {
	case !found:
		wrong("there is no metric %q", name)
	case !selected:
		wrong("nothing of %s is selected by its labels' values", name)
	}
	maps.Copy(labels, of)
}

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// TestAlertsAreAboutWhatExists: each rule's expression names what a running proxy shows, and its runbook is a
// heading of docs/OPERATIONS.md; each heading there has a rule.
func TestAlertsAreAboutWhatExists(t *testing.T) {
	t.Parallel()
	s := mustScrape(t)
	var all rules
	testkit.MustDo(t, yaml.Unmarshal([]byte(testkit.MustReadFile(t, "prometheus/alerts.yaml")), &all))
	operations := testkit.MustReadFile(t, "../docs/OPERATIONS.md")
	_, chapter, there := strings.Cut(operations, "\n## Alerts\n")
	if !there || strings.Contains(chapter, "\n## ") {
		t.Fatal("docs/OPERATIONS.md does not end with the chapter Alerts")
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)\n\n\S`).FindAllStringSubmatch(chapter, -1) {
		headings[m[1]] = true
	}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			for _, problem := range s.check(r.Expr) {
				t.Errorf("%s: %s: %s", r.Alert, r.Expr, problem)
			}
			if _, err := time.ParseDuration(r.For); err != nil || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) || r.Annotations["summary"] == "" {
				t.Errorf("%s: for %q, severity %q, summary %q", r.Alert, r.For, r.Labels["severity"], r.Annotations["summary"])
			}
			if want := "docs/OPERATIONS.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want || !headings[r.Alert] {
				t.Errorf("%s: its runbook is %q, want %q; there is a heading: %t", r.Alert, r.Annotations["runbook"], want, headings[r.Alert])
			}
			delete(headings, r.Alert)
		}
	}
	for heading := range headings {
		t.Errorf("the runbook %s has no rule", heading)
	}
}

// R36: an alert about a backend that fails says why, in words. Its text is made as Prometheus and vmalert make it, from
// what a running proxy shows.
func TestR36AlertsSayWhy(t *testing.T) {
	t.Parallel()
	s := mustScrape(t)
	var all rules
	testkit.MustDo(t, yaml.Unmarshal([]byte(testkit.MustReadFile(t, "prometheus/alerts.yaml")), &all))
	i := slices.IndexFunc(s.samples, func(x sample) bool { return x.name == "akubra_backend_failure_info" })
	of := s.samples[i].labels
	functions := template.FuncMap{
		"query": func(query string) []sample {
			for _, problem := range s.check(query) {
				t.Errorf("%s: %s", query, problem)
			}
			return []sample{s.samples[i]}
		},
		"label":    func(name string, of sample) string { return of.labels[name] },
		"humanize": fmt.Sprint, "humanize1024": fmt.Sprint, "humanizeDuration": fmt.Sprint,
	}
	told := 0
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			for name, annotation := range r.Annotations {
				made, err := template.New(r.Alert).Funcs(functions).Parse("{{ $labels := .Labels }}{{ $value := .Value }}" + annotation)
				testkit.MustDo(t, err)
				var b strings.Builder
				testkit.MustDo(t, made.Execute(&b, map[string]any{"Labels": of, "Value": 5.0}))
				if name != "description" {
					continue
				}
				told++
				if got, want := b.String(), of["means"]+" ("+of["error"]+"). "; got != want || of["means"] == "" {
					t.Errorf("%s says %q, want %q", r.Alert, got, want)
				}
			}
		}
	}
	if told != 3 {
		t.Errorf("%d alerts say why", told)
	}
}

// TestBoardIsAboutWhatExists does so for the board.
func TestBoardIsAboutWhatExists(t *testing.T) {
	t.Parallel()
	s := mustScrape(t)
	text, err := os.ReadFile("grafana/akubra.json")
	testkit.MustDo(t, err)
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
	}
	testkit.MustDo(t, json.Unmarshal(text, &board))
	ids, queries := map[int]bool{}, 0
	for _, p := range board.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q: id %d is not its own, or it does not fit", p.Title, p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			queries++
			for _, problem := range s.check(filled(target.Expr)) {
				t.Errorf("%q: %s: %s", p.Title, target.Expr, problem)
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%q has %d queries", p.Title, len(p.Targets))
		}
	}
	if queries == 0 {
		t.Error("there are no queries")
	}
	variable := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
	for _, v := range board.Templating.List {
		if m := variable.FindStringSubmatch(v.Query); m != nil {
			for _, problem := range s.check("sum by (" + m[2] + ") (" + m[1] + ")") {
				t.Errorf("%s: %s", v.Name, problem)
			}
		} else if v.Type == "query" {
			t.Errorf("%s: %q is no query", v.Name, v.Query)
		}
	}
}

// filled is a query with the board's variables.
func filled(query string) string {
	return strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$backend", ".*").Replace(query)
}

// TestChecksFindMistakes: of queries that are wrong it is seen.
func TestChecksFindMistakes(t *testing.T) {
	t.Parallel()
	s := mustScrape(t)
	for _, query := range []string{
		"akubra_backend_op == 0",
		`akubra_backend_up{backed="a"}`,
		`akubra_backend_failing{cause="deny"}`,
		"sum by (reason) (akubra_backend_up)",
		"akubra_backend_up unless on (reason) akubra_backend_maintained",
		"median_over_time(akubra_backend_up[5m])",
		"sum(rate(akubra_requests_total[5m])",
		"rate(akubra_first_answer_seconds[5m])",
		"1 > 0",
	} {
		if s.check(query) == nil {
			t.Errorf("%s: no mistake is found", query)
		}
	}
}
