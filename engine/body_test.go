package engine

import "github.com/akubra/akubra/engine/body"

const (
	minSpliced = body.MinSpliced
	minHeld    = body.MinHeld
)
