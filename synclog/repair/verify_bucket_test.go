package repair

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/synclog/task"
)

const (
	versionsOn   = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`
	versionsHalt = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
	versionsOff  = "<VersioningConfiguration/>"
)

// R35: that a bucket keeps versions on one backend alone is told, unless a backend does not say, or does not know them.
func TestR35VerifyComparesVersioning(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		a, b    string
		locked  bool // the bucket has object lock on both
		refusal int  // of B
		differs bool
		kept    string // what is told that it is not
	}{
		"on":                        {a: versionsOn, b: strings.Replace(versionsOn, ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`, "", 1)},
		"off":                       {a: versionsOff, b: versionsOff},
		"on and off":                {a: versionsOn, b: versionsOff, differs: true},
		"on and suspended":          {a: versionsOn, b: versionsHalt, differs: true},
		"suspended and off":         {a: versionsHalt, b: versionsOff, differs: true},
		"B does not know it":        {a: versionsOn, b: versionsOff, refusal: 501},
		"B does not tell":           {a: versionsOn, b: versionsOff, refusal: 403},
		"B says something else":     {a: versionsOn, b: "<ListBucketResult/>"},
		"B says nothing":            {a: versionsOn, b: " "},
		"B locks without versions":  {a: versionsOn, b: versionsOff, locked: true, kept: "B versioning"},
		"B locks with and without":  {a: versionsOn, b: versionsHalt, locked: true, differs: true},
		"both lock without, or not": {a: versionsOff, b: versionsOff, locked: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			for i, s := range w.stores {
				s.put("b", "k", "x", time.Hour)
				docs := s.buckets["b"].docs
				docs["versioning"] = []string{tt.a, tt.b}[i]
				if tt.locked {
					docs["object-lock"] = lockDoc
				}
			}
			if tt.refusal != 0 {
				w.stores[1].setHook(func(rw http.ResponseWriter, r *http.Request) bool {
					if r.URL.Query().Has("versioning") {
						refuse(rw, tt.refusal, "AccessDenied")
					}
					return r.URL.Query().Has("versioning")
				})
			}
			var said Difference
			kept := ""
			found, sum, err := w.verify(func(o *VerifyOptions) {
				o.Deep = true
				o.OnNotKept = func(backend, what string) { kept = strings.Replace(backend, w.stores[1].name, "B ", 1) + what }
				o.OnDifference = func(d Difference) { said = d }
			})
			want := int64(0)
			if tt.differs {
				want = 1
			}
			if err != nil || sum.Differences != want || sum.Settings != want || sum.Errors != 0 || kept != tt.kept {
				t.Fatalf("%v, %+v, %v; not kept: %q", found, sum, err, kept)
			}
			if tt.differs && (said.Kind != DiffSetting || said.Key != "" || said.What != "versioning" || said.Have[0].Versioning == said.Have[1].Versioning) {
				t.Errorf("%+v", said)
			}
			if warned := w.log.count("cannot compare the versioning of buckets"); warned > 0 != (tt.refusal == 403 || tt.b == " ") {
				t.Errorf("warned %d times", warned)
			}
		})
	}
}

// R35: which versioning is right a person decides: it is journaled as any other setting of a bucket, and parked.
func TestR35VersioningThatDiffersIsParked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	a, b := w.stores[0].buckets["b"].docs, w.stores[1].buckets["b"].docs
	a["versioning"], b["versioning"] = versionsOn, versionsOff
	verify := func(want VerifySummary) {
		t.Helper()
		if _, sum, err := w.verify(func(o *VerifyOptions) {
			o.Journal = w.q
			o.Busy = func(bucket, key string) (bool, bool, error) { return Pending(w.q, bucket, key) }
		}); err != nil || sum != want {
			t.Fatalf("%+v, %v, want %+v", sum, err, want)
		}
	}
	verify(VerifySummary{Differences: 1, Settings: 1, Added: 1})
	verify(VerifySummary{}) // it is pending
	w.once()
	left := w.q.left()
	if len(left) != 1 || left[0].Target != "/b?versioning" || left[0].Key != "" || left[0].Parked != task.Conflict {
		t.Fatalf("left: %+v", left)
	}
	if a["versioning"] != versionsOn || b["versioning"] != versionsOff {
		t.Errorf("A has %s, B has %s", a["versioning"], b["versioning"])
	}
	verify(VerifySummary{Differences: 1, Settings: 1}) // it is journaled already
	b["versioning"] = versionsOn
	w.o.RetryParked = true
	w.mustResolve()
	verify(VerifySummary{})
}

// R35: a client's own setting decides, whatever verify has found before it.
func TestR35VersioningIsSetOverAFinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.o.CopyBucketConfig = true
	w.stores[0].buckets["b"].docs["versioning"], w.stores[1].buckets["b"].docs["versioning"] = versionsOn, versionsOff
	found := w.by(task.Found, "", "", "")
	found.Target = "/b?versioning"
	set := w.by(task.Setting, "PUT", "", "", 0)
	set.Target = found.Target
	found.Seq, set.Seq = 1, 2
	w.q.push(flat{Bucket: "b", Seq: 2, First: 1, Target: found.Target, whole: &task.Task{Bucket: "b", Target: found.Target, Writes: []task.Write{found, set}}})
	w.mustResolve()
	if doc := w.stores[1].buckets["b"].docs["versioning"]; doc != versionsOn {
		t.Errorf("B has %s", doc)
	}
}

// R35: a bucket that a backend lacks is told of as such alone.
func TestR35VersioningOfAMissingBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3)
	w.stores[0].buckets["b"].docs["versioning"], w.stores[2].buckets["b"].docs["versioning"] = versionsOn, versionsOn
	delete(w.stores[1].buckets, "b")
	var kinds []string
	_, sum, err := w.verify(func(o *VerifyOptions) {
		o.OnDifference = func(d Difference) { kinds = append(kinds, fmt.Sprint(d.Kind, d.Key)) }
	})
	if err != nil || !slices.Equal(kinds, []string{DiffBucket}) || sum.Settings != 0 {
		t.Errorf("%q, %+v, %v", kinds, sum, err)
	}
}
