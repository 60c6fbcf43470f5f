package journal

import "github.com/akubra/akubra/synclog/task"

// Entry is one write that backends may differ in. Bit i of a mask is Options.Backends[i].
// Promise only reads its []byte fields, and sets Seq where it is 0, and the Target of one
// about a bucket (task.BucketTarget).
type Entry = task.Entry
