package config

import (
	"slices"
	"strings"
)

// Conflict says what happens to a key that was changed past the proxy (R35): "park", "newest" or
// "prefer: BACKEND".
type Conflict string

// What OnConflict may be, besides a preferred backend.
const (
	OnConflictPark   = "park"
	OnConflictNewest = "newest"
	conflictPrefer   = "prefer"
)

// preferred is the backend that OnConflict names.
func (c Conflict) preferred() (backend string, ok bool) {
	name, backend, ok := strings.Cut(string(c), ":")
	return strings.TrimSpace(backend), ok && strings.TrimSpace(name) == conflictPrefer
}

// conflictOf is what OnConflict may be written as: a text, or a map with one key.
func conflictOf(value any) (Conflict, bool) {
	switch v := value.(type) {
	case string:
		return Conflict(v), true
	case map[string]any:
		if backend, ok := v[conflictPrefer].(string); ok && len(v) == 1 {
			return Conflict(conflictPrefer + ": " + backend), true
		}
	}
	return "", false
}

func (m *mistakes) checkConflict(c Conflict, backends []string) {
	backend, prefers := c.preferred()
	switch {
	case c == OnConflictPark || c == OnConflictNewest:
	case !prefers:
		m.add("OnConflict", string(c), "park, newest, or prefer: and one of Backends")
	case len(backends) > 0 && c.PreferredOf(backends) < 0: // if there are none, that is reported already
		m.add("OnConflict", string(c), "park, newest, or prefer: and one of Backends, and %q is none", backend)
	}
}

// PreferredOf is the index of the preferred backend, or -1 if none is preferred.
func (c Conflict) PreferredOf(backends []string) int {
	backend, prefers := c.preferred()
	if !prefers {
		return -1
	}
	return slices.IndexFunc(backends, func(b string) bool {
		u, err := parseBackend(b)
		return err == nil && (strings.EqualFold(u.Host, backend) || sameBackend(b, backend))
	})
}

// What Repair.Enabled may be.
const (
	RepairAuto = "auto"
	RepairOn   = "true"
	RepairOff  = "false"
)

// Repairs reports whether the proxy repairs by itself. By default it does so if it can; why says
// what is missing for that.
func (c *Config) Repairs(environ []string) (on bool, why error) {
	switch {
	case c.Repair.Enabled == RepairOff || c.Repair.Enabled == RepairAuto && len(c.Backends) < 2:
		return false, nil
	case c.Repair.Enabled == RepairOn:
		return true, nil
	}
	_, why = c.SigningKeys(environ)
	return why == nil, why
}
