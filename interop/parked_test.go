package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// TestR35PageParked settles parked keys on the page, with what each backend has before one's eyes:
// one whose backend was changed past the proxy, and one that nobody has any more.
func TestR35PageParked(t *testing.T) {
	t.Parallel()
	bucket := "parked"
	w, p, c := pageWorld(t, bucket, "")
	shots := shotsDir(t)
	put := func(c *s3.Client, key, content string) {
		t.Helper()
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)}); err != nil {
			t.Fatalf("PUT %q: %v", key, err)
		}
	}
	get := func(s *store, key string) string {
		t.Helper()
		out, err := s.direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return errorCode(err)
		}
		body, err := io.ReadAll(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	// Not by its markup, and not by its name in a shell either, may a key do anything.
	const conflict, lost = `it's <b>`, "lost"
	put(c, conflict, "first")
	p.process.await(t, "both have it", func(context.Context) bool { return get(w.stores[1], conflict) == "first" })
	w.stores[1].process.kill()
	put(c, conflict, "second")
	put(c, lost, "content")
	put(w.stores[0].direct, conflict, "past the proxy")
	key := lost
	if _, err := w.stores[0].direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	w.stores[1].run(t)
	p.awaitParked(t, 2)

	b := newBrowser(t)
	answer := b.answerDialogs()
	b.open(p.admin+"/", pageToken)
	card := func(key string) string {
		return fmt.Sprintf(`[...document.querySelectorAll("#parked article")].find((e) => e.getAttribute("aria-label") === %q)`, bucket+"/"+key)
	}
	b.until("both keys are there", `document.querySelector("#parked-count").textContent === "2" && document.querySelectorAll("#parked article").length === 2`)
	b.until("both heads stand side by side", fmt.Sprintf(`[...%s.querySelectorAll("thead th")].map((e) => e.textContent).join(" ") === %q`, card(conflict), w.stores[0].addr+" "+w.stores[1].addr))
	b.until("what differs is marked", fmt.Sprintf(`[...%s.querySelectorAll("tr")].some((e) => /^Size14 B5 B$/.test(e.textContent) && e.querySelectorAll(".different").length === 2)`, card(conflict)))
	b.until("it says what is wrong", fmt.Sprintf(`/changed past the proxy/.test(%s.textContent)`, card(conflict)))
	b.until("nobody has the other one", fmt.Sprintf(`/No backend has/.test(%s.textContent) && !/B \(/.test(%s.textContent)`, card(lost), card(lost)))
	b.shots(shots, "parked")

	// Who does not mean it has done nothing.
	press := func(key, words string, sure bool) {
		t.Helper()
		answer.Store(sure)
		b.run(chromedp.Evaluate(fmt.Sprintf(`[...%s.querySelectorAll("button")].find((e) => e.textContent === %q).click()`, card(key), words), nil))
	}
	press(conflict, "Delete", false)
	if got := get(w.stores[0], conflict); got != "past the proxy" {
		t.Errorf("a decision that was taken back was carried out: %s", got)
	}
	press(conflict, "Take "+w.stores[1].addr, true)
	b.until("it is settled", `document.querySelector("#parked-count").textContent === "1"`)
	b.until("what became of it is said", `/: settled: /.test(document.querySelector("#said").textContent)`)
	for _, s := range w.stores {
		if got := get(s, conflict); got != "first" {
			t.Errorf("%v has %q", s, got)
		}
	}
	press(lost, "Delete", true)
	b.until("nothing is left", `document.querySelector("#parked-count").textContent === "0" && document.querySelectorAll("#parked article").length === 0`)
	b.until("it is in sync", inSync)
	if b.text(`document.querySelector("#parked b") ? "markup" : ""`) != "" {
		t.Error("a key became markup")
	}
	for _, want := range []string{"audit", "resolve --take " + w.stores[1].addr, "resolve --delete", "settled"} {
		p.process.await(t, fmt.Sprintf("the log has %q", want), func(context.Context) bool { return strings.Contains(p.process.output.String(), want) })
	}
	if said := p.process.output.String(); strings.Count(said, "audit") != 2 {
		t.Errorf("of two decisions the log says:\n%s", said)
	}
}

// answerDialogs has the browser answer each question that the page asks.
func (b *browser) answerDialogs() *atomic.Bool {
	var yes atomic.Bool
	chromedp.ListenTarget(b.ctx, func(event any) {
		if _, ok := event.(*page.EventJavascriptDialogOpening); ok {
			go func() { _ = chromedp.Run(b.ctx, page.HandleJavaScriptDialog(yes.Load())) }() // it may not wait here
		}
	})
	return &yes
}

// awaitParked waits until so many keys are parked, of a proxy that asks for the token.
func (p *proxy) awaitParked(t *testing.T, n int) {
	t.Helper()
	p.process.await(t, fmt.Sprintf("%d keys are parked", n), func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.admin+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+pageToken)
		res, err := directTransport.RoundTrip(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		var s status
		return json.NewDecoder(res.Body).Decode(&s) == nil && s.Journal.Parked == n
	})
}
