package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// What the soak's clients do besides PUT, GET and DELETE: tags, copies, uploads in parts;
// versions that are deleted for good and legal holds, where both stores have them. Each
// aspect of a key has a history of its own, under a name of its own (R35).

// tagsOf and holdOf name the histories of parts of a key.
func tagsOf(key string) string { return key + "?tagging" }
func holdOf(key string) string { return key + "?legal-hold" }

// other does one of these things.
func (s *soak) other(number int, key string, random *rand.Rand) bool {
	s.others.Add(1)
	switch n := random.IntN(5); {
	case n == 0:
		return s.tag(key)
	case n == 1:
		return s.sendTagged(key, random)
	case n == 2:
		return s.sendParts(key, random)
	case n == 3 && s.versioned != nil:
		return s.version(number, random)
	}
	return s.copyOver(key, random)
}

// sources are objects that are copied from: the source of a key has that key's values.
type sources struct {
	mu sync.Mutex
	// current is the value that was acknowledged last; 0 where it is not known.
	current map[string]int64
	busy    map[string]bool
}

// take gives a source to one client for a while, which no other one writes or reads.
func (s *sources) take(key string) (id int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[key] {
		return 0, false
	}
	s.busy[key] = true
	return s.current[key], true
}

func (s *sources) give(key string, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current[key], s.busy[key] = id, false
}

// again is begin for a value that somebody has sent before.
func (h *history) again(key string, id int64) *deed {
	d := h.begin(key, false, false)
	h.mu.Lock()
	defer h.mu.Unlock()
	d.id = id
	return d
}

// tag gives an object tags, whatever its content.
func (s *soak) tag(key string) bool {
	d := s.h.begin(tagsOf(key), true, false)
	_, err := s.client3().PutObjectTagging(s.Context(), &s3.PutObjectTaggingInput{Bucket: &s.bucket, Key: &key, Tagging: tagging(d.id)})
	s.h.ended(d, err == nil)
	return spoke(err)
}

func tagging(id int64) *types.Tagging {
	return &types.Tagging{TagSet: []types.Tag{{Key: aws.String("id"), Value: aws.String(strconv.FormatInt(id, 10))}}}
}

// client3 repeats nothing.
func (s *soak) client3() *s3.Client { return newSDK(s.plain.url, s.http.Transport) }

// spoke reports whether the proxy was there, whatever it said.
func spoke(err error) bool { return err == nil || errorCode(err) != "" }

// sendTagged puts an object with its tags.
func (s *soak) sendTagged(key string, random *rand.Rand) bool {
	d, tags := s.h.begin(key, true, false), s.h.begin(tagsOf(key), true, false)
	_, err := s.client3().PutObject(s.Context(), &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(value(key, d.id, soakSize(random))),
		Tagging: aws.String("id=" + strconv.FormatInt(tags.id, 10)),
	})
	s.h.ended(d, err == nil)
	s.h.ended(tags, err == nil)
	return spoke(err)
}

// sendParts uploads in one part, or in two.
func (s *soak) sendParts(key string, random *rand.Rand) bool {
	size := soakSize(random)
	if random.IntN(4) == 0 {
		size = 5*mib + random.IntN(mib)
	}
	client := s.client3()
	up, err := client.CreateMultipartUpload(s.Context(), &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return spoke(err)
	}
	d, tags := s.h.begin(key, true, false), s.h.begin(tagsOf(key), false, false)
	data := value(key, d.id, size)
	var parts []types.CompletedPart
	for n := int32(1); len(data) > 0; n++ {
		part := data[:min(len(data), 5*mib)]
		data = data[len(part):]
		out, err := client.UploadPart(s.Context(), &s3.UploadPartInput{Bucket: &s.bucket, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(part)})
		if err != nil {
			s.h.ended(d, false)
			s.h.ended(tags, false)
			return spoke(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: out.ETag})
	}
	_, err = client.CompleteMultipartUpload(s.Context(), &s3.CompleteMultipartUploadInput{Bucket: &s.bucket, Key: &key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	s.h.ended(d, err == nil)
	s.h.ended(tags, err == nil)
	return spoke(err)
}

// copyOver rewrites the source of a key, or copies it: what a client is told is copied is
// what was acknowledged of the source before.
func (s *soak) copyOver(key string, random *rand.Rand) bool {
	source := "source/" + key
	id, ok := s.sources.take(key)
	if !ok {
		return true
	}
	if id == 0 || random.IntN(3) == 0 {
		d := s.h.begin(key+" source", true, false)
		_, err := s.client3().PutObject(s.Context(), &s3.PutObjectInput{Bucket: &s.bucket, Key: &source, Body: bytes.NewReader(value(key, d.id, soakSize(random)))})
		s.h.ended(d, err == nil)
		if id = 0; err == nil {
			id = d.id
		}
		s.sources.give(key, id)
		return spoke(err)
	}
	d, tags := s.h.again(key, id), s.h.begin(tagsOf(key), false, false)
	_, err := s.client3().CopyObject(s.Context(), &s3.CopyObjectInput{Bucket: &s.bucket, Key: &key, CopySource: aws.String(s.bucket + "/" + source)})
	s.h.ended(d, err == nil)
	s.h.ended(tags, err == nil)
	if err != nil { // it may be under way still, and is not ordered against the source's next write
		id = 0
	}
	s.sources.give(key, id)
	return spoke(err)
}

// versioned is a bucket with object locks and so with versions.
type versioned struct {
	bucket string
	mu     sync.Mutex
	known  map[string][]version // by key; what may be deleted for good
	purged map[int64]string     // by value: the version's id, and when
	odd    map[string]bool      // keys whose current version depends on what was purged
}

type version struct {
	id   string
	made int64 // value
}

// lockedBucket makes it, where both stores can have one.
func (s *soak) lockedBucket() {
	s.Helper()
	if !s.all(minio) {
		return
	}
	s.versioned = &versioned{bucket: "locked", known: map[string][]version{}, purged: map[int64]string{}, odd: map[string]bool{}}
	if _, err := s.sdk.CreateBucket(s.Context(), &s3.CreateBucketInput{Bucket: &s.versioned.bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		s.Fatal(err)
	}
	s.settle(s.T)
}

// version does something in the bucket with versions.
func (s *soak) version(number int, random *rand.Rand) bool {
	v := s.versioned
	key := fmt.Sprintf("locked/%d/%d", number, random.IntN(5)) // each client has its own
	client := s.client3()
	switch n := random.IntN(10); {
	case n < 5:
		d, hold := s.h.begin(key, true, false), s.h.begin(holdOf(key), false, false)
		out, err := client.PutObject(s.Context(), &s3.PutObjectInput{Bucket: &v.bucket, Key: &key, Body: bytes.NewReader(value(key, d.id, soakSize(random)))})
		s.h.ended(d, err == nil)
		s.h.ended(hold, err == nil)
		if err == nil {
			v.mu.Lock()
			v.known[key] = append(v.known[key], version{aws.ToString(out.VersionId), d.id})
			v.mu.Unlock()
		}
		return spoke(err)
	case n < 7:
		on := random.IntN(2) == 0
		d, status := s.h.again(holdOf(key), 0), types.ObjectLockLegalHoldStatusOff
		if on {
			d, status = s.h.again(holdOf(key), 1), types.ObjectLockLegalHoldStatusOn
		}
		_, err := client.PutObjectLegalHold(s.Context(), &s3.PutObjectLegalHoldInput{Bucket: &v.bucket, Key: &key, LegalHold: &types.ObjectLockLegalHold{Status: status}})
		s.h.ended(d, err == nil)
		return spoke(err)
	case n < 8:
		d := s.h.begin(key, false, false)
		_, err := client.DeleteObject(s.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &key})
		s.h.ended(d, err == nil)
		return spoke(err)
	}
	v.mu.Lock()
	all := v.known[key]
	if len(all) == 0 {
		v.mu.Unlock()
		return true
	}
	at := random.IntN(len(all))
	gone := all[at]
	v.known[key] = slices.Delete(all, at, at+1)
	v.odd[key] = true
	v.mu.Unlock()
	begun := s.h.tick()
	_, err := client.DeleteObject(s.Context(), &s3.DeleteObjectInput{Bucket: &v.bucket, Key: &key, VersionId: &gone.id})
	if err == nil {
		v.mu.Lock()
		v.purged[gone.made] = fmt.Sprintf("version %q, between %d and %d", gone.id, begun, s.h.tick())
		v.mu.Unlock()
	}
	return spoke(err)
}

// compareVersions looks at all versions that each store has.
func (s *soak) compareVersions(parked map[string]string) {
	s.Helper()
	v, current := s.versioned, [2]map[string]int64{{}, {}}
	had := map[string]string{}
	for i, store := range s.stores {
		pages := s3.NewListObjectVersionsPaginator(store.direct, &s3.ListObjectVersionsInput{Bucket: &v.bucket})
		for pages.HasMorePages() {
			page, err := pages.NextPage(s.Context())
			if err != nil {
				s.Fatalf("%v: %v", store, err)
			}
			for _, o := range page.Versions {
				out, err := store.direct.GetObject(s.Context(), &s3.GetObjectInput{Bucket: &v.bucket, Key: o.Key, VersionId: o.VersionId})
				if err != nil {
					s.Fatalf("%v: %q: %v", store, *o.Key, err)
				}
				var data bytes.Buffer
				_, err = data.ReadFrom(out.Body)
				_ = out.Body.Close()
				id, wrong := parseValue(*o.Key, data.Bytes())
				switch _, is := parked[v.bucket+"/"+*o.Key]; {
				case err != nil || wrong != nil:
					s.Errorf("%v: %q is what nobody put there: %v, %v", store, *o.Key, err, wrong)
				case v.purged[id] != "" && !is:
					s.Errorf("%v: %q has value %d, which was deleted for good: %s, of:\n%s%s", store, *o.Key, id, v.purged[id], s.told(*o.Key), s.recorded(*o.Key))
				}
				had[*o.Key] += fmt.Sprintf("%v: version %q of %v: value %d\n", store, *o.VersionId, *o.LastModified, id)
				if aws.ToBool(o.IsLatest) {
					current[i][*o.Key] = id
				}
				if hold := out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn; aws.ToBool(o.IsLatest) && !v.odd[*o.Key] && parked[v.bucket+"/"+*o.Key] == "" {
					s.wantAspect(store, holdOf(*o.Key), map[bool]int64{true: 1}[hold])
				}
			}
		}
	}
	for key, versions := range had {
		if s.Failed() {
			s.Logf("%q:\n%s", key, versions)
		}
	}
	for key := range s.h.byKey {
		if !strings.HasPrefix(key, "locked/") || strings.Contains(key, "?") || parked[v.bucket+"/"+key] != "" {
			continue
		}
		if a, b := current[0][key], current[1][key]; a != b || !v.odd[key] && !s.h.allows(key, a, s.h.tick()) {
			s.Errorf("%q has the values %v and %v, of:\n%s%s", key, a, b, s.told(key), s.recorded(key))
		}
	}
}

// note keeps what the journal knows of each key before it is repaired.
func (s *soak) note() {
	s.Helper()
	for line := range strings.Lines(s.command("journal", "list", "--json").output) {
		var t struct{ Bucket, Key string }
		if err := json.Unmarshal([]byte(line), &t); err != nil {
			s.Fatalf("%q: %v", line, err)
		}
		if strings.HasPrefix(t.Key, "soak/") || strings.HasPrefix(t.Key, "locked/") {
			s.noted[t.Key] += s.command("journal", "show", t.Bucket+"/"+t.Key).output
		}
	}
}

// recorded is what the synclog and the journal say of a key.
func (s *soak) recorded(key string) string {
	var b strings.Builder
	b.WriteString(s.noted[key])
	data, err := os.ReadFile(s.plain.synclog)
	if err != nil {
		s.Error(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "\""+key+"\"") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// wantAspect compares a part of a key with its history.
func (s *soak) wantAspect(store *store, aspect string, id int64) {
	s.Helper()
	if !s.h.allows(aspect, id, s.h.tick()) {
		s.Errorf("%v: %q is %d, of:\n%s", store, aspect, id, s.told(aspect))
	}
}

// compareTags looks at the tags of a key that is there, and gives whose they are.
func (s *soak) compareTags(store *store, key string) (id int64) {
	s.Helper()
	out, err := store.direct.GetObjectTagging(s.Context(), &s3.GetObjectTaggingInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		s.Errorf("%v: tags of %q: %v", store, key, err)
		return 0
	}
	for _, tag := range out.TagSet {
		id, _ = strconv.ParseInt(*tag.Value, 10, 64)
	}
	s.wantAspect(store, tagsOf(key), id)
	return id
}

// wipe has one store lose all it had, when the other one has it too, and both are made
// equal again by verify and repair.
func (s *soak) wipe() {
	s.Helper()
	s.rest()
	victim := s.stores[s.random.IntN(2)]
	s.Logf("%v loses all it has", victim)
	victim.process.kill()
	entries, err := os.ReadDir(victim.dir)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(victim.dir + "/" + e.Name()); err != nil {
			s.Fatal(err)
		}
	}
	if err := os.RemoveAll(victim.dir + ".meta"); err != nil {
		s.Fatal(err)
	}
	mustMkdir(s.T, victim.dir+".meta")
	victim.run(s.T)
	if s.versioned != nil {
		clear(s.versioned.known) // ids that it gave name nothing any more: S3 answers 204 to a DELETE of one
	}
	s.plain.await(s.T, "both backends are in the pool", status.active)
	s.wipes++
	for range 2 { // the first time it is the bucket that lacks
		buckets := []string{s.bucket}
		if s.versioned != nil {
			buckets = append(buckets, s.versioned.bucket)
		}
		for _, bucket := range buckets {
			r := s.command("verify", "--bucket", bucket, "--journal", "--missing", "copy")
			s.Logf("akubra verify --journal of %q: exit code %d, %d lines", bucket, r.code, strings.Count(r.output, "\n"))
		}
		s.untilParked()
	}
}

// neverTrue reports whether a key is parked for what does not happen here: nothing is done past the
// proxy, and these storages keep what they are given.
func neverTrue(why string) bool {
	return strings.Contains(why, "past the proxy") || strings.HasPrefix(why, "not kept: ")
}

// untilParked repairs until nothing is left but what a person has to decide, and gives
// that, by bucket and key.
func (s *soak) untilParked() (parked map[string]string) {
	s.Helper()
	s.note()
	for begun := time.Now(); ; time.Sleep(300 * time.Millisecond) { // what it has put off is due later
		r := s.command("repair")
		left := 0
		parked = map[string]string{}
		for line := range strings.Lines(s.command("synclog", "list", "--json").output) {
			var t struct {
				Bucket, Key string
				Parked      bool
				ParkedFor   string `json:"parked_for"`
				LastError   string `json:"lasterror"`
			}
			if err := json.Unmarshal([]byte(line), &t); err != nil {
				s.Fatalf("%q: %v", line, err)
			}
			if t.Parked {
				parked[t.Bucket+"/"+t.Key] = t.ParkedFor + ": " + t.LastError
			} else {
				left++
			}
		}
		if left == 0 {
			for _, key := range slices.Sorted(maps.Keys(parked)) {
				s.Logf("%q is parked: %s", key, parked[key])
				if name := key[strings.Index(key, "/")+1:]; neverTrue(parked[key]) {
					s.Errorf("what the journal knows of %q:\n%s\nbefore repair:\n%s\nwhat its clients did:\n%s\nand to its tags:\n%s", key,
						s.command("journal", "show", key).output, s.recorded(name), s.told(name), s.told(tagsOf(name)))
				}
			}
			return parked
		}
		if r.code > 1 || time.Since(begun) > repairTime {
			s.Fatalf("%d keys are left: %.4000s", left, s.command("synclog", "list").output)
		}
	}
}
