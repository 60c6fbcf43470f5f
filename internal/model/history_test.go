package model

import "strings"

// The steps of a history. A and B are the storages; b/… is a key of a bucket, v/… of one
// with versions, l/… of one with object locks.
//
//	without repair                      what a backend lacks it has to owe    (first)
//	manners A lossy folders folds guesses ahead behind dated unconditional etags     (first)
//
//	put KEY N [cache=…] [tags=…] [acl=public-read] [hold] [retain=HOURS]       content "KEY is N"
//	multi KEY N […]                     the same in two parts
//	copy KEY FROM [cache=…]             with other metadata where that is given
//	delete KEY
//	deletes KEY,KEY,…                   DeleteObjects
//	delete-version KEY N                the N-th from the top, by id
//	deletes-version KEY N               the same by DeleteObjects
//	delete-null KEY
//	tag KEY T, untag KEY, tag-version KEY N T, acl KEY public-read|private
//	retain KEY HOURS, hold KEY ON|OFF
//	make BUCKET [lock], remove BUCKET
//	clear BUCKET                        all versions of all keys in it, by their ids
//	& …                                 by another client, at the same time as what follows
//
//	down A, freeze A, up A              until "up"
//	refuse A 503|507|403|0
//	save A, restore A, wipe A, rot A KEY
//	kill                                the proxy, which is started again
//	verify                              --deep --journal
//	wait DURATION

// steps takes a history apart that is written in one line: "put b/k 0; down B; …".
func steps(text string) (history []string) {
	for step := range strings.SplitSeq(text, ";") {
		if step = strings.TrimSpace(step); step != "" {
			history = append(history, step)
		}
	}
	return history
}
