package interop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const pageToken = "interop-admin-token"

// pageWorld has two stores, a proxy whose page has buttons, and a bucket; more is for the configuration.
func pageWorld(t *testing.T, bucket, more string) (w *world, p *proxy, c *s3.Client) {
	t.Helper()
	w = newStores(t, [2]string{versitygw, versitygw})
	p = w.newProxy(t, bucket, "", fmt.Sprintf("AdminToken: %s\nCredentials: {AccessKey: %s, SecretKey: %s, Region: %s}\n%s", pageToken, accessKey, secretKey, region, more))
	c = newSDK(p.url, nil)
	p.process.await(t, "a bucket can be made", func(ctx context.Context) bool {
		_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
		return err == nil
	})
	return w, p, c
}

// TestPage opens the live page in Chromium: a backend dies, the backlog grows, the backend comes back,
// and the page says so, over a restart of the proxy, too. The screenshots stay in PAGE_SHOTS, or in a
// folder that is named.
func TestPage(t *testing.T) {
	t.Parallel()
	bucket := "page"
	w, p, c := pageWorld(t, bucket, "FailureLimit: 3\n")
	shots := shotsDir(t)
	put := func(key string) {
		t.Helper()
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("content")}); err != nil {
			t.Fatalf("PUT %q: %v", key, err)
		}
	}

	b := newBrowser(t)
	b.run(chromedp.Navigate(p.admin+"/"), chromedp.WaitVisible("#token"))
	b.until("it says what it waits for", `document.querySelector("#sentence").textContent === "The proxy asks for its token."`)
	b.run(chromedp.SendKeys("#token", "not "+pageToken+"\n"))
	b.until("a wrong token is told", `/^That is not the proxy's AdminToken/.test(document.querySelector("#token-label").textContent)`)
	b.open(p.admin+"/", pageToken)
	b.until("it is in sync", inSync)
	b.shot(shots, "1-in-sync", 1200, "light")

	w.stores[1].process.kill()
	hostile := `<img src=x onerror="document.title='owned'">`
	mirrored := "\u202egpj.x" // it looks like x.jpg
	for i := range 8 {
		put(fmt.Sprintf("key-%d", i))
	}
	put(hostile + mirrored)
	b.until("the backlog grows", `/9 keys behind at/.test(document.querySelector("#sentence").textContent)`)
	b.until("it shows the dead one", `document.querySelectorAll("#backends [data-tone=bad]").length === 1`)
	b.until("the synclog is there", `document.querySelectorAll("#records tr").length >= 9`)
	b.until("a key is text", fmt.Sprintf(`[...document.querySelectorAll("#records td")].some((e) => e.textContent === "page/" + %q) && !document.querySelector("#records img")`, hostile+`\u202egpj.x`))
	b.filter("nothing says this")
	b.until("the filter hides lines", `document.querySelectorAll("#records tr").length === 0`)
	b.filter("")
	b.shots(shots, "2-behind")
	b.until("nothing is wider than the page", `document.documentElement.scrollWidth <= innerWidth`)

	// A button, by the keyboard.
	b.run(chromedp.Focus(`[data-name^="maintenance"]:not(:disabled)`), chromedp.SendKeys(`[data-name^="maintenance"]`, "\r"))
	b.until("what became of it is said", `/Maintenance of .*: /.test(document.querySelector("#said").textContent)`)

	w.stores[1].run(t)
	b.until("it can be ended", `[...document.querySelectorAll("[data-name^=maintenance]")].some((e) => /End/.test(e.textContent))`)
	b.run(chromedp.Evaluate(`[...document.querySelectorAll("[data-name^=maintenance]")].filter((e) => /End/.test(e.textContent)).forEach((e) => e.click())`, nil))
	b.until("it is in sync again", inSync)
	b.shot(shots, "3-in-sync-again", 1200, "dark")

	p.process.stop(t)
	b.until("contact is lost", `/No contact since/.test(document.querySelector("#sentence").textContent) && document.body.classList.contains("lost")`)
	b.shot(shots, "4-lost", 1200, "light")
	p.run(t)
	b.until("it is back by itself", inSync+` && !document.body.classList.contains("lost")`)
	if strings.Contains(b.text(`document.title`), "owned") {
		t.Error("a key became markup")
	}
	if url := b.text(`location.href`); strings.Contains(url, pageToken) {
		t.Errorf("the token is in the address %q", url)
	}
	if res, err := http.Get(p.admin + "/status"); err == nil { // without the token
		_ = res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("/status answers %d without the token", res.StatusCode)
		}
	}
}

// browser is one tab of a headless Chromium.
type browser struct {
	*testing.T
	ctx context.Context
}

const browserTime = 30 * time.Second

// What the page says.
const inSync = `document.querySelector("#sentence").textContent === "All backends are in sync."`

func behindBy(n int) string {
	return fmt.Sprintf(`/\b%d keys? behind at/.test(document.querySelector("#sentence").textContent)`, n)
}

// shotsDir is where screenshots stay: in PAGE_SHOTS, or in a folder that is named.
func shotsDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PAGE_SHOTS")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "akubra-page-"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the screenshots are in %s", dir)
	return dir
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	alloc, end := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(envOr("CHROMIUM", "chromium")), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("headless", true), chromedp.Flag("hide-scrollbars", true), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(browserTime))
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() { cancel(); end() })
	b := &browser{t, ctx}
	if err := chromedp.Run(ctx); err != nil { // not in run: the browser lasts as long as the context that starts it
		t.Fatalf("cannot start chromium: %v", err)
	}
	return b
}

func (b *browser) run(actions ...chromedp.Action) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.Fatalf("the browser: %v; the page says: %s", err, b.text(`document.body.innerText`))
	}
}

func (b *browser) text(expression string) (got string) {
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	_ = chromedp.Run(ctx, chromedp.Evaluate(expression, &got))
	return got
}

// open opens the page, and gives it the token that it asks for, if any.
func (b *browser) open(url string, token ...string) {
	b.Helper()
	b.run(chromedp.Navigate(url))
	for _, one := range token {
		b.run(chromedp.WaitVisible("#token"))
		b.until("nothing is claimed of a proxy that has not said anything",
			`[...document.querySelectorAll("main > section")].every((e) => (e.id === "token-section") === (e.offsetParent !== null))`)
		b.run(chromedp.SendKeys("#token", one+"\n"))
	}
}

// noteCounts has the page keep in window.counts how many keys its sentence says are behind, each time
// that this changes, however late anybody looks.
func (b *browser) noteCounts() {
	b.Helper()
	b.run(chromedp.Evaluate(`{
		const e = document.querySelector("#sentence");
		window.counts = [];
		new MutationObserver(() => window.counts.push(Number((/([\d,]+) keys? behind/.exec(e.textContent) || [0, "0"])[1].replaceAll(",", ""))))
			.observe(e, { childList: true, characterData: true, subtree: true });
	}`, nil))
}

// filter fills in the synclog's filter by reason.
func (b *browser) filter(words string) {
	b.Helper()
	b.run(chromedp.Evaluate(fmt.Sprintf(`{ const e = document.querySelector("#f-reason"); e.value = %q; e.dispatchEvent(new Event("input")); }`, words), nil))
}

// until waits until an expression is true.
func (b *browser) until(what, expression string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Poll(expression, nil, chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(browserTime))); err != nil {
		b.Fatalf("waited in vain for: %s (%v); the page says: %s", what, err, b.text(`document.body.innerText`))
	}
}

// shots takes pictures in both schemes, wide and as narrow as a telephone.
func (b *browser) shots(dir, name string) {
	b.Helper()
	for _, width := range []int64{1200, 400} {
		for _, scheme := range []string{"light", "dark"} {
			b.shot(dir, name, width, scheme)
		}
	}
}

// shot takes a picture of the whole page.
func (b *browser) shot(dir, name string, width int64, scheme string) {
	b.Helper()
	var png []byte
	b.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.EmulateViewport(width, 900),
		// Until it is drawn anew: of a page whose size has just changed a part may be missing.
		chromedp.Evaluate(`new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))`, nil,
			func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }),
		chromedp.FullScreenshot(&png, 100))
	if wide := b.text(`document.documentElement.scrollWidth > window.innerWidth ? "it is" : ""`); wide != "" {
		b.Errorf("%s is wider than %d px", name, width)
	}
	mustWrite(b.T, filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), png)
}
