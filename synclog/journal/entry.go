package journal

import "github.com/akubra/akubra/synclog/task"

// Entry is one write in which backends may differ. Bit i of a mask stands for Options.Backends[i].
// Promise only reads its []byte fields; it sets Seq if that is 0, and the Target of an entry about
// a bucket (task.BucketTarget).
type Entry = task.Entry
