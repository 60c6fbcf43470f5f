package main

import "syscall"

// discardFlag makes the kernel throw away what is received (tcp(7)).
const discardFlag = syscall.MSG_TRUNC
