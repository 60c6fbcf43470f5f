package repair

import (
	"context"
	"encoding/xml"

	"github.com/akubra/akubra/synclog/repair/client"
	"github.com/akubra/akubra/synclog/task"
)

// settingVersioning is the bucket's setting that verify compares.
const settingVersioning = "versioning"

// versioningOff is the versioning of a bucket that never had any.
const versioningOff = "Off"

// versioning reports whether the bucket keeps versions on some backends and not on others. Which is right nobody
// knows, so that a person decides.
func (v *verifier) versioning(ctx context.Context, listings []*listing) error {
	d := v.twice(ctx, "", func() Difference { return v.compareVersioning(ctx, listings) })
	if d == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tellLocked(ctx, d)
	return v.err
}

// compareVersioning leaves out backends that lack the bucket, or do not say.
func (v *verifier) compareVersioning(ctx context.Context, listings []*listing) Difference {
	d := Difference{Bucket: v.o.Bucket, What: settingVersioning, Have: make([]Have, len(listings))}
	v.r.each(func(i int, b *backend) {
		h := &d.Have[i]
		h.Backend, h.Present = b.name, !listings[i].ended || !listings[i].noBucket
		if h.Present {
			h.Versioning = v.versioningOf(ctx, b)
		}
	})
	if !d.versioningDiffers() {
		return Difference{}
	}
	v.r.each(func(i int, b *backend) {
		h := &d.Have[i]
		if h.Versioning != versioningOff {
			return
		}
		if locks, _ := b.locks(ctx, v.o.Bucket); locks {
			// S3 has no object lock without versions: this backend does not know them.
			h.Versioning = ""
			v.notKept(b.name, settingVersioning)
		}
	})
	if !d.versioningDiffers() {
		return Difference{}
	}
	d.Kind, d.owed = DiffSetting, v.all()
	for i := range d.Have {
		if h := &d.Have[i]; h.Present && h.Versioning == "" {
			h.Error = "it does not say"
		}
	}
	return d
}

func (d *Difference) versioningDiffers() bool {
	known := ""
	for i := range d.Have {
		h := d.Have[i].Versioning
		if h != "" && known != "" && h != known {
			return true
		}
		if h != "" {
			known = h
		}
	}
	return false
}

// versioningOf is a bucket's versioning on one backend, "" if that does not say.
func (v *verifier) versioningOf(ctx context.Context, b *backend) string {
	doc, err := b.getDocument(ctx, v.o.Bucket, "", settingVersioning)
	if err != nil && !client.HasCode(err, "NoSuchBucket") && ctx.Err() == nil {
		v.r.warnOnce(settingVersioning+" "+b.name, "cannot compare the versioning of buckets", "backend", b.name, "error", err.Error())
	}
	var configuration struct {
		XMLName xml.Name `xml:"VersioningConfiguration"`
		Status  string
	}
	if err != nil || xml.Unmarshal(doc.raw, &configuration) != nil {
		return ""
	}
	switch s := configuration.Status; s {
	case "":
		return versioningOff
	case "Enabled", "Suspended":
		return s
	}
	return ""
}

// SettingFinder is a Journal that finds what is pending of a bucket's setting.
type SettingFinder interface {
	FindSetting(bucket, name string) (t task.Task, ok bool)
}

// Pending reports whether a key is pending in a journal that is a Finder, and whether it waits for a person. The key ""
// is the bucket's, with its versioning.
func Pending(j Journal, bucket, key string) (pending, parked bool, err error) {
	finder, finds := j.(Finder)
	if !finds {
		return false, false, nil
	}
	t, _, ok, err := finder.Find(bucket, key)
	if settings, finds := j.(SettingFinder); finds && key == "" && !ok && err == nil {
		t, ok = settings.FindSetting(bucket, settingVersioning)
	}
	return ok && t.Parked == "", ok && t.Parked != "", err
}
