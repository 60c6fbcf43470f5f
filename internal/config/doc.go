// Package config reads and checks what an operator can set.
//
// Load reads a YAML file with the environment over it; every key is known, of the right
// type and in its range, or the error (Errors) has a line for each mistake (R21). Config,
// in config.go, is the whole list of keys: their names, types and places in the environment
// are read off its fields and koanf tags. What a new key needs besides its field is a
// default (Default), a line in check, config.yaml.example and docs/CONFIGURATION.md, and a reader;
// TestEveryKeyIsEverywhere (internal/service) names what was forgotten.
//
// A Config belongs to its caller, and nothing writes to it once it has been checked, so any
// goroutine may read it. The package knows none of the packages it configures: what they make of
// their part (log sinks, the engine's options) is their own business.
package config
