package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// repairTopologies: what one of each kind has to take from the other.
var repairTopologies = append(slices.Clone(topologies), struct {
	name  string
	kinds [2]string
}{"MinIO and versitygw", [2]string{minio, versitygw}})

// repairTime bounds what repair may take for all that was written.
const repairTime = 4 * time.Minute

// full is whether the tests run in full size.
func full() bool { return os.Getenv("INTEROP_FULL") != "" }

// TestRepair stops the second store, writes all kinds of objects meanwhile, starts
// it again, and repairs beside the running proxy: after that both hold the same.
func TestRepair(t *testing.T) {
	writes, large, part := 600, 12*mib, 5*mib
	if full() {
		writes, large, part = 5000, 100*mib, 8*mib
	}
	for _, topology := range repairTopologies {
		t.Run(topology.name, func(t *testing.T) {
			d := newDivergence(t, topology.kinds, "")
			d.before(writes)
			d.inPieces("before", 4, 6*mib, 5*mib)
			d.stopStore()
			d.meanwhile(writes)
			d.overwritten("before 0")
			d.deleted("before 1")
			d.deletedTogether("before 2", "before 3")
			d.inPieces("meanwhile", 1, large, part)
			d.byClients()
			d.buckets()
			d.startStore()
			if n := d.journaled(); n < writes/2 {
				t.Errorf("the journal has %d keys after %d writes", n, writes)
			}
			// Of two versitygw it shows what they fold: they list a/b where a//b is pending.
			r := d.command("verify", "--bucket", d.bucket)
			var pending int
			if _, counts, ok := strings.Cut(r.output, "missing somewhere), "); ok {
				_, _ = fmt.Sscanf(counts, "%d pending", &pending)
			}
			if pending < writes/2 || r.code > 1 {
				t.Errorf("akubra verify before repair: exit code %d: %.1000s", r.code, r.output)
			}
			d.repair()
			d.equal()
			d.again()
		})
	}
}

// TestRepairInside has the proxy repair by itself.
func TestRepairInside(t *testing.T) {
	for _, topology := range topologies {
		t.Run(topology.name, func(t *testing.T) {
			d := newDivergence(t, topology.kinds, "Repair: {Enabled: true}\n")
			d.before(100)
			d.stopStore()
			d.meanwhile(100)
			d.inPieces("meanwhile", 2, 6*mib, 5*mib)
			d.buckets()
			d.startStore()
			begun := time.Now()
			d.plain.awaitFor(t, repairTime, "nothing is pending", func(s status) bool { return s.Journal.Pending == 0 && s.InFlight == 0 })
			d.Logf("nothing was pending %.1f s after the store was back", time.Since(begun).Seconds())
			d.equal()
		})
	}
}

// divergence is a bucket (and others beside it) that one store missed writes to.
type divergence struct {
	*step
	sdk    *s3.Client
	extra  []string // further buckets
	mu     sync.Mutex
	want   map[string]wanted // by bucket/key; what the client was told of last
	gone   map[string]bool
	writes atomic.Int64
}

// wanted is what both stores must hold.
type wanted struct {
	sha256 string
	tags   string
}

func newDivergence(t *testing.T, kinds [2]string, more string) *divergence {
	t.Helper()
	return newDivergenceIn(t, newStores(t, kinds), more)
}

func newDivergenceIn(t *testing.T, w *world, more string) *divergence {
	t.Helper()
	if !strings.Contains(more, "Repair:") { // the test repairs when it wants to
		more += "Repair: {Enabled: false}\n"
	}
	w.plain = w.newProxy(t, "plain", "", fmt.Sprintf("Credentials: {AccessKey: %q, SecretKey: %q, Region: %q}\n%s", accessKey, secretKey, region, more))
	w.plain.await(t, "it is ready", func(s status) bool { return s.Ready })
	d := &divergence{
		step: &step{T: t, world: w, bucket: "repaired", multipart: map[string]bool{}},
		// versitygw answers 500 to some of the first uploads to a new bucket.
		sdk:  newSDK(w.plain.url, nil, func(o *s3.Options) { o.Retryer = retry.NewStandard() }),
		want: make(map[string]wanted), gone: make(map[string]bool),
	}
	for _, bucket := range []string{d.bucket, "goes"} {
		if _, err := d.sdk.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	w.settle(t)
	return d
}

func (d *divergence) victim() *store { return d.stores[1] }

func (d *divergence) stopStore() {
	d.Helper()
	d.settle(d.T)
	d.victim().process.kill()
}

func (d *divergence) startStore() {
	d.Helper()
	d.settle(d.T)
	d.victim().run(d.T)
	d.plain.await(d.T, "both stores are in the pool", status.active)
}

// holds notes what a client was told is stored.
func (d *divergence) holds(bucket, key string, data []byte, tags string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := sha256.Sum256(data)
	d.want[bucket+"/"+key] = wanted{hex.EncodeToString(sum[:]), tags}
	delete(d.gone, bucket+"/"+key)
	d.writes.Add(1)
}

func (d *divergence) retagged(key, tags string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.want[d.bucket+"/"+key]
	w.tags = tags
	d.want[d.bucket+"/"+key] = w
	d.writes.Add(1)
}

// lacks notes what a client was told is deleted.
func (d *divergence) lacks(bucket, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.want, bucket+"/"+key)
	d.gone[bucket+"/"+key] = true
	d.writes.Add(1)
}

func (d *divergence) put(in *s3.PutObjectInput, data []byte) {
	d.Helper()
	if in.Bucket == nil {
		in.Bucket = &d.bucket
	}
	in.Body = bytes.NewReader(data)
	if _, err := d.sdk.PutObject(d.Context(), in); err != nil {
		d.Errorf("PutObject %q: %v", *in.Key, err)
		return
	}
	d.holds(*in.Bucket, *in.Key, data, aws.ToString(in.Tagging))
}

func (d *divergence) overwritten(key string) {
	d.Helper()
	d.put(&s3.PutObjectInput{Key: &key}, []byte("newer than "+key))
}

func (d *divergence) deleted(key string) {
	d.Helper()
	if _, err := d.sdk.DeleteObject(d.Context(), &s3.DeleteObjectInput{Bucket: &d.bucket, Key: &key}); err != nil {
		d.Errorf("DeleteObject %q: %v", key, err)
		return
	}
	d.lacks(d.bucket, key)
}

// deletedTogether deletes keys in one request (R24).
func (d *divergence) deletedTogether(keys ...string) {
	d.Helper()
	var objects []types.ObjectIdentifier
	for _, key := range keys {
		objects = append(objects, types.ObjectIdentifier{Key: &key})
	}
	out, err := d.sdk.DeleteObjects(d.Context(), &s3.DeleteObjectsInput{Bucket: &d.bucket, Delete: &types.Delete{Objects: objects}})
	if err != nil || len(out.Errors) > 0 {
		d.Errorf("DeleteObjects %q: %v", keys, err)
		return
	}
	for _, key := range keys {
		d.lacks(d.bucket, key)
	}
}

// each does n things, some at a time.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	wg.Wait()
}

// What becomes of the i-th key, while the store is away.
const (
	isNew      = iota
	isReplaced // was there before
	isDeleted  // "
	isTagged   // "
	isMadeAnew // " deleted, and made again
	isFleeting // made, and deleted
	isLeft     // was there before, and nothing happens to it
)

func fate(i int) int {
	switch i % 20 {
	case 12:
		return isLeft
	case 13, 14:
		return isReplaced
	case 15, 16:
		return isDeleted
	case 17:
		return isTagged
	case 18:
		return isMadeAnew
	case 19:
		return isFleeting
	}
	return isNew
}

func oldKey(i int) string { return fmt.Sprintf("old/%d/ü+ %04d", i%7, i) }

// oddForms are keys that are hard to escape, but that every store takes.
var oddForms = []string{
	"with space/%d", "ü€ %%2F+;=&/%d", "plus+plus %d", "100%% %d", "%%41 %d", "日本語/кириллица %d", "😀 %d", "a?b=c#d&e %d",
	"it's \"quoted\" %d", "(round)[square]{curly} %d", "~tilde!$^`%d", "semi;colon,comma@: %d", "e\u0301 é %d", "...%d", " x %d ",
	"back\\slash %d", "<xml>&amp;%d", "nbsp\u00a0%d", strings.Repeat(strings.Repeat("d", 100)+"/", 9) + "%d",
}

func (d *divergence) oddKey(i int) string {
	forms := oddForms
	if d.all(versitygw) { // MinIO refuses those
		forms = append(slices.Clone(forms), "a//b %d", "deep///er//x %d")
	}
	return fmt.Sprintf(forms[i%len(forms)], i)
}

// before writes what is on both stores.
func (d *divergence) before(n int) {
	d.Helper()
	each(n, func(i int) {
		key, data := oldKey(i), content(uint64(i), 100+i%5000)
		in := &s3.PutObjectInput{Key: &key}
		switch fate(i) {
		case isNew, isFleeting:
			return
		case isReplaced: // versitygw keeps what is not given anew
			in.Metadata, in.ContentType = map[string]string{"colour": "blue"}, aws.String("text/before")
		case isTagged:
			in.Tagging = aws.String("first=1")
		}
		d.put(in, data)
	})
	d.settle(d.T)
}

// meanwhile writes what one store misses.
func (d *divergence) meanwhile(n int) {
	d.Helper()
	begun, writes := time.Now(), d.writes.Load()
	var bulk []types.ObjectIdentifier
	each(n, func(i int) {
		key, data := oldKey(i), content(uint64(n+i), 200+i%3000)
		switch fate(i) {
		case isNew:
			d.create(n, i)
		case isReplaced:
			d.put(&s3.PutObjectInput{Key: &key, Metadata: map[string]string{"Colour": "ünlike"}, ContentType: aws.String("text/after")}, data)
		case isDeleted:
			if i%2 == 0 {
				d.mu.Lock()
				bulk = append(bulk, types.ObjectIdentifier{Key: &key})
				d.mu.Unlock()
				return
			}
			d.deleted(key)
		case isTagged:
			d.retag(key, i)
		case isMadeAnew:
			d.deleted(key)
			d.put(&s3.PutObjectInput{Key: &key}, data)
		case isFleeting:
			d.put(&s3.PutObjectInput{Key: &key}, data)
			d.deleted(key)
		}
	})
	out, err := d.sdk.DeleteObjects(d.Context(), &s3.DeleteObjectsInput{Bucket: &d.bucket, Delete: &types.Delete{Objects: bulk}})
	if err != nil || len(out.Errors) > 0 {
		d.Fatalf("DeleteObjects: %+v, %v", out, err)
	}
	for _, o := range bulk {
		d.lacks(d.bucket, *o.Key)
	}
	d.Logf("%d writes in %.1f s, while %v was away", d.writes.Load()-writes, time.Since(begun).Seconds(), d.victim())
}

// create makes the i-th object, which is of one kind or other.
func (d *divergence) create(n, i int) {
	d.Helper()
	key, data := fmt.Sprintf("new/%d/%04d", i%5, i), content(uint64(n+i), i*7919%(20*kib))
	in := &s3.PutObjectInput{Key: &key}
	switch i % 11 {
	case 0:
		data = nil
	case 1, 2, 3:
		key = d.oddKey(i)
	case 4:
		in.ContentType, in.CacheControl, in.ContentLanguage = aws.String("text/odd; charset=utf-8"), aws.String("no-store, max-age=5"), aws.String("de")
		in.ContentEncoding, in.ContentDisposition = aws.String("gzip"), aws.String(`attachment; filename="a b.bin"`)
		in.Expires = aws.Time(time.Date(2033, 12, 1, 16, 0, 0, 0, time.UTC))
		in.Metadata = map[string]string{"plain": "value", "MixedCase": "Value", "spaces": "a  b", "long": strings.Repeat("v", 1000)}
	case 5:
		in.Tagging = aws.String("k1=v1&" + d.oddTag())
	case 6:
		in.Metadata, in.Tagging, in.ContentType = map[string]string{"name": "ü€ 日本"}, aws.String("only=this"), aws.String("image/png")
		in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	case 7:
		if i%77 == 7 {
			data = content(uint64(n+i), 2*mib+i)
		}
	case 8:
		from := i/20*20 + 12 // isLeft
		if from >= n {
			return
		}
		if _, err := d.sdk.CopyObject(d.Context(), &s3.CopyObjectInput{Bucket: &d.bucket, Key: &key,
			CopySource: aws.String(d.bucket + "/" + strings.NewReplacer(" ", "%20", "+", "%2B", "ü", "%C3%BC").Replace(oldKey(from)))}); err != nil {
			d.Errorf("CopyObject %q: %v", key, err)
			return
		}
		d.holds(d.bucket, key, content(uint64(from), 100+from%5000), "")
		return
	}
	d.put(in, data)
}

// oddTag is a tag that is hard to escape, as a header has it.
func (d *divergence) oddTag() string { return url.Values{"odd": {d.oddValue()}}.Encode() }

func (d *divergence) oddValue() string {
	if d.all(versitygw) { // MinIO takes ASCII alone
		return "ü a+b/@=-"
	}
	return "a+b c/@=-"
}

func (d *divergence) retag(key string, i int) {
	d.Helper()
	if i%3 == 0 {
		if _, err := d.sdk.DeleteObjectTagging(d.Context(), &s3.DeleteObjectTaggingInput{Bucket: &d.bucket, Key: &key}); err != nil {
			d.Errorf("DeleteObjectTagging %q: %v", key, err)
			return
		}
		d.retagged(key, "")
		return
	}
	if _, err := d.sdk.PutObjectTagging(d.Context(), &s3.PutObjectTaggingInput{Bucket: &d.bucket, Key: &key,
		Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("odd"), Value: aws.String(d.oddValue())}}}}); err != nil {
		d.Errorf("PutObjectTagging %q: %v", key, err)
		return
	}
	d.retagged(key, d.oddTag())
}

// inPieces writes n objects by multipart uploads, the first of them of size bytes.
func (d *divergence) inPieces(name string, n, size, part int) {
	d.Helper()
	for i := range n {
		key := fmt.Sprintf("%s %d", name, i)
		u := d.beginUpload(d.sdk, key)
		data := content(uint64(size+i), size-i*1000)
		for rest := data; len(rest) > 0; rest = rest[min(part, len(rest)):] {
			u.part(d.sdk, rest[:min(part, len(rest))])
		}
		u.complete(d.sdk)
		d.holds(d.bucket, key, data, "")
	}
	d.settle(d.T)
}

// byClients writes with those that people use.
func (d *divergence) byClients() {
	d.Helper()
	up := filepath.Join(d.TempDir(), "up")
	writeFiles(d.T, up, oddNames)
	mustWrite(d.T, filepath.Join(up, "large"), content(77, 20*mib+77))
	cli := awsCLIs(d.T)[0]
	cli.run(d.step, "s3", "sync", up, "s3://"+d.bucket+"/aws", "--no-progress")
	config := filepath.Join(d.dir, "rclone.conf")
	mustWrite(d.T, config, fmt.Appendf(nil, "[s3]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nregion = %s\nendpoint = %s\nforce_path_style = true\n",
		accessKey, secretKey, region, d.plain.url))
	mustExecute(d.T, nil, "rclone", "--config", config, "copy", "--s3-upload-cutoff", "5Mi", "--s3-chunk-size", "6Mi", up, "s3:"+d.bucket+"/rclone")
	for name, data := range readFiles(d.T, up) {
		d.holds(d.bucket, "aws/"+name, data, "")
		d.holds(d.bucket, "rclone/"+name, data, "")
	}
	cli.run(d.step, "s3", "rm", "s3://"+d.bucket+"/aws/deep", "--recursive")
	d.lacks(d.bucket, "aws/deep/er/and/deeper/x")
}

// buckets makes a bucket, and deletes one.
func (d *divergence) buckets() {
	d.Helper()
	made := "came"
	if _, err := d.sdk.CreateBucket(d.Context(), &s3.CreateBucketInput{Bucket: &made}); err != nil {
		d.Fatal(err)
	}
	if _, err := d.sdk.DeleteBucket(d.Context(), &s3.DeleteBucketInput{Bucket: aws.String("goes")}); err != nil {
		d.Fatal(err)
	}
	d.extra = append(d.extra, made)
	for i := range 10 {
		d.put(&s3.PutObjectInput{Bucket: &made, Key: aws.String(fmt.Sprintf("%d/x", i))}, content(uint64(i), i*100))
	}
}

// command runs another akubra beside the proxy.
func (d *divergence) command(args ...string) result {
	d.Helper()
	return execute(d.T, nil, proxyBinary(d.T), append(args, "-c", d.plain.config)...)
}

// journaled is how many keys the journal has.
func (d *divergence) journaled() int {
	d.Helper()
	return strings.Count(d.command("synclog", "list", "--json").output, "\n")
}

// repair repairs until all is done, while clients go on writing.
func (d *divergence) repair() {
	d.Helper()
	var writers sync.WaitGroup
	writers.Go(func() {
		for i := range 100 {
			key := fmt.Sprintf("new/%d/%04d", i%5, i)
			if d.Context().Err() != nil {
				return
			}
			switch i % 3 {
			case 0:
				d.put(&s3.PutObjectInput{Key: &key}, content(uint64(i), 999+i))
			case 1:
				d.deleted(key)
			}
		}
	})
	d.untilRepaired()
	writers.Wait()
	d.settle(d.T)
	d.untilRepaired() // a client's write may have overlapped with another
}

func (d *divergence) untilRepaired() {
	d.Helper()
	begun := time.Now()
	for run := 1; ; run++ {
		r := d.command("repair")
		d.Logf("akubra repair, no. %d, after %.1f s: exit code %d: %.1000s", run, time.Since(begun).Seconds(), r.code, strings.TrimSpace(r.output))
		if r.code == 0 {
			return
		}
		if r.code != 1 || time.Since(begun) > repairTime {
			d.Fatalf("this is left: %.4000s", d.command("synclog", "list").output)
		}
		time.Sleep(300 * time.Millisecond) // before repair is asked to go on: what it has put off is due later
	}
}

// again does it another time, with few keys: once repair says that all is done,
// there must be nothing in the list, at once.
func (d *divergence) again() {
	d.Helper()
	d.stopStore()
	for i := range 20 {
		d.overwritten(fmt.Sprintf("again %d", i))
	}
	d.startStore()
	if n := d.journaled(); n != 20 {
		d.Errorf("the journal has %d keys after 20 writes", n)
	}
	d.untilRepaired()
	if r := d.command("journal", "list", "--json"); r != (result{}) {
		d.Errorf("akubra journal list, after repair is done: exit code %d: %.4000s", r.code, r.output)
	}
}

// equal checks that nothing is left to be done, and that both stores hold what the
// clients were told.
func (d *divergence) equal() {
	d.Helper()
	d.settle(d.T)
	d.plain.await(d.T, "nothing is pending", func(s status) bool { return s.Journal.Pending == 0 && s.Journal.Open == 0 && s.Journal.Parked == 0 })
	var r result
	d.plain.process.await(d.T, "akubra journal list has nothing", func(context.Context) bool {
		r = d.command("journal", "list", "--json") // reads the files, which are up to 100 ms behind
		return r == result{}
	}, &r.output)
	buckets := append([]string{d.bucket}, d.extra...)
	for _, bucket := range buckets {
		begun := time.Now()
		if r := d.command("verify", "--bucket", bucket, "--deep"); r.code != 0 {
			d.Errorf("akubra verify --deep of %s: exit code %d: %.4000s", bucket, r.code, r.output)
		} else {
			d.Logf("akubra verify --deep of %s: %.1f s: %s", bucket, time.Since(begun).Seconds(), strings.TrimSpace(r.output))
		}
	}
	for _, store := range d.stores {
		out, err := store.direct.ListBuckets(d.Context(), &s3.ListBucketsInput{})
		if err != nil {
			d.Fatal(err)
		}
		var names []string
		for _, b := range out.Buckets {
			names = append(names, *b.Name)
		}
		slices.Sort(names)
		if want := slices.Sorted(slices.Values(buckets)); !slices.Equal(names, want) {
			d.Errorf("%v has the buckets %q, want %q", store, names, want)
		}
	}
	total := 0
	for _, bucket := range buckets {
		onA, onB := d.stores[0].snapshot(d.T, bucket), d.stores[1].snapshot(d.T, bucket)
		total += len(onA)
		d.sameObjects(bucket, onA, onB)
	}
	if total != len(d.want) {
		d.Errorf("each store has %d objects, want %d", total, len(d.want))
	}
	d.Logf("%d objects are the same, on either store", total)
}

func (d *divergence) sameObjects(bucket string, onA, onB map[string]object) {
	d.Helper()
	for _, key := range slices.Sorted(maps.Keys(onA)) {
		switch b, ok := onB[key]; {
		case !ok:
			d.Errorf("%q is on %v only: %+v", key, d.stores[0], onA[key])
		case onA[key].differs(b):
			d.Errorf("%q differs:\n%v: %+v\n%v: %+v", key, d.stores[0], onA[key], d.stores[1], b)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(onB)) {
		if _, ok := onA[key]; !ok {
			d.Errorf("%q is on %v only: %+v", key, d.stores[1], onB[key])
		}
	}
	for name, want := range d.want {
		key, ok := strings.CutPrefix(name, bucket+"/")
		if !ok {
			continue
		}
		if d.all(versitygw) { // to which it is the same
			for strings.Contains(key, "//") {
				key = strings.ReplaceAll(key, "//", "/")
			}
		}
		if got := onA[key]; got.sha256 != want.sha256 {
			d.Errorf("%q is %+v, but the client was told last of %+v", name, got, want)
			continue
		}
		for _, store := range d.stores {
			if got, err := store.tags(d.Context(), bucket, key); err != nil || got != want.tags {
				d.Errorf("%v: %q has the tags %q, %v, want %q", store, name, got, err, want.tags)
			}
		}
	}
	for name := range d.gone {
		key, ok := strings.CutPrefix(name, bucket+"/")
		if _, there := onA[key]; ok && there {
			d.Errorf("%q is there, but the client was told that it is deleted", name)
		}
	}
}

// tags are an object's, as a header would have them.
func (s *store) tags(ctx context.Context, bucket, key string) (string, error) {
	out, err := s.direct.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key})
	if errorCode(err) == "NoSuchTagSet" { // of versitygw
		return "", nil
	}
	if err != nil {
		return "", err
	}
	tags := url.Values{}
	for _, tag := range out.TagSet {
		tags.Add(aws.ToString(tag.Key), aws.ToString(tag.Value))
	}
	return tags.Encode(), nil // sorted
}
