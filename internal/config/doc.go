// Package config reads and checks what an operator can set.
//
// Load reads a YAML file, overridden by the environment. Every key must be known, of the right
// type and in its range; otherwise the error (Errors) has a line for each mistake (R21). Config,
// in config.go, is the complete list of keys: their names, types and environment variables follow
// from its fields and koanf tags. Besides its field, a new key needs a default (Default), a line
// in check, config.yaml.example and docs/CONFIGURATION.md, and a reader; TestEveryKeyIsEverywhere
// (internal/service) names what was forgotten.
//
// A Config belongs to its caller, and nothing writes to it once it has been checked, so any
// goroutine may read it. The package knows none of the packages it configures: what they make of
// their part (log sinks, the engine's options) is their own business.
package config
