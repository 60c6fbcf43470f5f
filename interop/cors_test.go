package interop

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestCORS does in Chromium what docs/CONFIGURATION.md promises: with the bucket's rules, with the proxy's
// headers, or with both, a page of another origin PUTs an object and reads it back with its ETag, by presigned
// URLs. With neither the browser refuses.
func TestCORS(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../docs/CONFIGURATION.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "## CORS for browsers")
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindStringSubmatch(section)
	if example == nil {
		t.Fatal("docs/CONFIGURATION.md has no example")
	}
	site := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(site.Close)
	headers := regexp.MustCompile(`(?m)^ {3}`).ReplaceAllString(strings.ReplaceAll(example[1], "https://app.example.com", site.URL), "")
	b := newBrowser(t)
	b.run(chromedp.Navigate(site.URL + "/"))
	for _, kinds := range [][2]string{{versitygw, versitygw}, {minio, versitygw}} {
		w := newStores(t, kinds)
		for _, with := range []struct{ rules, headers bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			if !with.rules && !with.headers && !w.all(versitygw) {
				continue // MinIO allows every page by itself, and may be the first to answer
			}
			bucket, more := fmt.Sprintf("rules-%v-headers-%v", with.rules, with.headers), ""
			if with.headers {
				more = headers
			}
			p := w.newProxy(t, bucket, "", more)
			p.await(t, "it is ready", func(s status) bool { return s.Ready })
			c := newSDK(p.url, nil)
			if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
				t.Fatal(err)
			}
			if with.rules {
				putRules(t, c, bucket, site.URL)
			}
			p.await(t, "both backends have it", func(s status) bool { return s.InFlight == 0 })
			want := with.rules || with.headers
			for i := range 10 {
				body := fmt.Sprint("object ", i)
				if said := b.putAndGet(c, bucket, body); want && said != "200 200 "+body+" true" || !want && !strings.HasPrefix(said, "TypeError") {
					t.Errorf("%v %s: the page got %s", kinds, bucket, said)
				}
			}
		}
	}
}

// putRules allows a page of that origin whatever it asks for.
func putRules(t *testing.T, c *s3.Client, bucket, origin string) {
	t.Helper()
	if _, err := c.PutBucketCors(t.Context(), &s3.PutBucketCorsInput{Bucket: &bucket, CORSConfiguration: &types.CORSConfiguration{CORSRules: []types.CORSRule{{
		AllowedOrigins: []string{origin}, AllowedMethods: []string{"GET", "HEAD", "PUT", "POST", "DELETE"},
		AllowedHeaders: []string{"*"}, ExposeHeaders: []string{"ETag"},
	}}}}); err != nil {
		t.Fatal(err)
	}
}

// putAndGet has the open page write an object and read it. It returns both statuses, what was read, and whether
// the page could see the same ETag twice; or the browser's error.
func (b *browser) putAndGet(c *s3.Client, bucket, body string) (said string) {
	b.Helper()
	key, presigned := "a key", s3.NewPresignClient(c, s3.WithPresignExpires(time.Hour))
	put, err := presigned.PresignPutObject(b.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		b.Fatal(err)
	}
	get, err := presigned.PresignGetObject(b.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		b.Fatal(err)
	}
	b.run(chromedp.Evaluate(fmt.Sprintf(`(async () => {
		try {
			const put = await fetch(%q, { method: "PUT", body: %q });
			const get = await fetch(%q, { cache: "no-store" });
			const etag = put.headers.get("ETag");
			return [put.status, get.status, await get.text(), Boolean(etag) && etag === get.headers.get("ETag")].join(" ");
		} catch (e) {
			return String(e);
		}
	})()`, put.URL, body, get.URL), &said, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return said
}
