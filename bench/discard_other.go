//go:build !linux

package main

// discardFlag: elsewhere the bytes have to be read.
const discardFlag = 0
