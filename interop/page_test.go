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
	"github.com/chromedp/chromedp"
)

const pageToken = "interop-admin-token"

// TestPage opens the live page in Chromium: a backend dies, the backlog grows, the backend comes back,
// and the page says so, over a restart of the proxy, too. The screenshots stay in PAGE_SHOTS, or in a
// folder that is named.
func TestPage(t *testing.T) {
	t.Parallel()
	w := newStores(t, [2]string{versitygw, versitygw})
	p := w.newProxy(t, "page", "", fmt.Sprintf("AdminToken: %s\nCredentials: {AccessKey: %s, SecretKey: %s, Region: %s}\nFailureLimit: 3\n", pageToken, accessKey, secretKey, region))
	shots := os.Getenv("PAGE_SHOTS")
	if shots == "" {
		dir, err := os.MkdirTemp("", "akubra-page-")
		if err != nil {
			t.Fatal(err)
		}
		shots = dir
	}
	t.Logf("the screenshots are in %s", shots)
	c := newSDK(p.url, nil)
	bucket := "page"
	p.process.await(t, "a bucket can be made", func(ctx context.Context) bool {
		_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
		return err == nil
	})
	put := func(key string) {
		t.Helper()
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("content")}); err != nil {
			t.Fatalf("PUT %q: %v", key, err)
		}
	}

	b := newBrowser(t)
	b.run(chromedp.Navigate(p.admin+"/"), chromedp.WaitVisible("#token"),
		chromedp.SendKeys("#token", pageToken+"\n"))
	b.until("it is in sync", `document.querySelector("#sentence").textContent === "All backends are in sync."`)
	b.shot(shots, "1-in-sync", 1200, "light")

	w.stores[1].process.kill()
	hostile := `<img src=x onerror="document.title='owned'">`
	for i := range 8 {
		put(fmt.Sprintf("key-%d", i))
	}
	put(hostile)
	b.until("the backlog grows", `/9 keys behind at/.test(document.querySelector("#sentence").textContent)`)
	b.until("it shows the dead one", `document.querySelectorAll("#backends [data-tone=bad]").length === 1`)
	b.until("the synclog is there", `document.querySelectorAll("#records tr").length >= 9`)
	b.until("a key is text", fmt.Sprintf(`[...document.querySelectorAll("#records td")].some((e) => e.textContent === "page/" + %q) && !document.querySelector("#records img")`, hostile))
	b.filter("nothing says this")
	b.until("the filter hides lines", `document.querySelectorAll("#records tr").length === 0`)
	b.filter("")
	for _, scheme := range []string{"light", "dark"} {
		b.shot(shots, "2-behind", 1200, scheme)
	}
	b.shot(shots, "2-behind", 400, "light")
	b.shot(shots, "2-behind", 400, "dark")
	b.until("nothing is wider than the page", `document.documentElement.scrollWidth <= innerWidth`)

	// A button, by the keyboard.
	b.run(chromedp.Focus(`[data-name^="maintenance"]:not(:disabled)`), chromedp.SendKeys(`[data-name^="maintenance"]`, "\r"))
	b.until("what became of it is said", `/Maintenance of .*: /.test(document.querySelector("#said").textContent)`)

	w.stores[1].run(t)
	b.until("it can be ended", `[...document.querySelectorAll("[data-name^=maintenance]")].some((e) => /End/.test(e.textContent))`)
	b.run(chromedp.Evaluate(`[...document.querySelectorAll("[data-name^=maintenance]")].filter((e) => /End/.test(e.textContent)).forEach((e) => e.click())`, nil))
	b.until("it is in sync again", `document.querySelector("#sentence").textContent === "All backends are in sync."`)
	b.shot(shots, "3-in-sync-again", 1200, "dark")

	p.process.stop(t)
	b.until("contact is lost", `/No contact since/.test(document.querySelector("#sentence").textContent) && document.body.classList.contains("lost")`)
	b.shot(shots, "4-lost", 1200, "light")
	p.run(t)
	b.until("it is back by itself", `document.querySelector("#sentence").textContent === "All backends are in sync." && !document.body.classList.contains("lost")`)
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

// shot takes a picture of the whole page.
func (b *browser) shot(dir, name string, width int64, scheme string) {
	b.Helper()
	var png []byte
	b.run(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.EmulateViewport(width, 900), chromedp.FullScreenshot(&png, 100))
	mustWrite(b.T, filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), png)
}
