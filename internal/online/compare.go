package online

import (
	"maps"
	"slices"
	"strings"
)

// compareAddresses finds backends that may be one storage under two names. Several storages can also share an
// address, behind a server that tells them apart by name.
func (c *check) compareAddresses() {
	for i := range c.reports {
		r := &c.reports[i]
		for j := range c.reports[:i] {
			if r.address != "" && r.address == c.reports[j].address {
				r.warn("it is at the same address as %s (%s): if these are two names of one storage, objects are stored only once", c.reports[j].Name, r.address)
				break
			}
		}
	}
}

// compareBuckets finds the buckets that some backends lack.
func (c *check) compareBuckets() {
	all := map[string]int{}
	for i := range c.reports {
		for _, b := range c.reports[i].Buckets {
			all[b]++
		}
	}
	for i := range c.reports {
		r := &c.reports[i]
		if !r.listed {
			continue
		}
		for _, b := range slices.Sorted(maps.Keys(all)) {
			if !slices.Contains(r.Buckets, b) {
				r.Missing = append(r.Missing, b)
			}
		}
		if len(r.Missing) > 0 {
			r.problem("it lacks buckets that other backends have: %s", strings.Join(r.Missing, ", "))
		}
	}
}

func (c *check) compareVersioning() {
	for i := range c.reports {
		r := &c.reports[i]
		for _, bucket := range r.Buckets {
			for j := range c.reports[:i] {
				other, ok := c.reports[j].Versioning[bucket]
				if own := r.Versioning[bucket]; ok && own != other && own != versioningUnknown && other != versioningUnknown {
					r.warn("versioning of bucket %q is %s, and %s on %s", bucket, own, other, c.reports[j].Name)
					break
				}
			}
		}
	}
}
