package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/demo"
	"github.com/akubra/akubra/synclog/repair"
)

// run does what args say and returns the process's exit code.
func (c *cli) run(args []string) int {
	exit := -1 // set where kingpin has answered already, as to --help
	app := kingpin.New("akubra", "Copies every S3 request to all backends at once; the first positive answer is the client's.").
		Version(c.version).UsageWriter(c.stdout).ErrorWriter(c.stderr).
		Terminate(func(code int) { exit = max(exit, code) })
	app.HelpFlag.Short('h')
	conf := app.Flag("conf", "The configuration, a YAML file. config.yaml.example has every key.").Short('c').PlaceHolder("FILE").String()
	serve := app.Command("serve", "Serve. This is what a bare `akubra -c FILE` does.").Default()
	check, checkFlags := checkCommand(app)
	demo, demoOptions := demoCommand(app)
	journal := newJournalCommands(app)
	repair, repairFlags := repairCommand(app)
	verify, verifyFlags := verifyCommand(app)
	resolve, resolveFlags := resolveCommand(app)
	operate := newOperateCommands(app)
	example := app.Command("config", "Print a configuration with every key, its default and what it means, to start from.")
	version := app.Command("version", "Print the version, and what it was built with.")
	completion, shell := completionCommand(app)

	command, err := app.Parse(args)
	switch {
	case exit >= 0:
		return exit
	case err != nil && slices.Contains(args, "verify"):
		_ = c.wrong(fmt.Errorf("%w (akubra --help tells more)", err))
		return exitUsage
	case err != nil:
		return c.wrong(fmt.Errorf("%w (akubra --help tells more)", err))
	case command == demo.FullCommand():
		if *conf != "" {
			return c.wrong(errors.New("demo has a configuration of its own and takes no -c"))
		}
		return c.demo(demoOptions)
	case command == example.FullCommand():
		fmt.Fprint(c.stdout, c.example)
		return exitOK
	case command == version.FullCommand():
		return c.showVersion()
	case command == completion.FullCommand():
		return c.completion(*shell)
	case *conf == "":
		return c.wrong(errors.New("no configuration given: akubra -c FILE (akubra config prints one to start from, akubra demo needs none)"))
	}
	config, err := config.Load(*conf)
	if err != nil {
		return c.wrong(err)
	}
	switch {
	case command == check.FullCommand():
		return c.check(config, *conf, checkFlags)
	case command == serve.FullCommand():
		return c.serve(config, *conf)
	case journal.is(command):
		return journal.run(c, config, command)
	case operate.is(command):
		return operate.run(c, config, command)
	case command == repair.FullCommand():
		return c.repair(config, repairFlags)
	case command == verify.FullCommand():
		return c.verify(config, verifyFlags)
	case command == resolve.FullCommand():
		return c.resolve(config, resolveFlags)
	}
	panic("cli: no such command: " + command)
}

func checkCommand(app *kingpin.Application) (*kingpin.CmdClause, *checkFlags) {
	f := &checkFlags{}
	cmd := app.Command("check", "Check the configuration and tell every mistake; exit code 2 if there is one, 1 if an address or the journal is taken.")
	cmd.Flag("online", "Look at the backends, too: whether they can be reached, their certificates, clocks, keys, buckets, versioning, and whether they keep conditions of a write.").BoolVar(&f.online)
	cmd.Flag("bucket", "Where conditions of a write are tried, with an object that is deleted again. By default a bucket that all have and that keeps no versions.").PlaceHolder("BUCKET").StringVar(&f.bucket)
	cmd.Flag("read-only", "Write nothing, so that conditions of a write are not tried.").BoolVar(&f.readOnly)
	return cmd, f
}

func demoCommand(app *kingpin.Application) (*kingpin.CmdClause, *demo.Options) {
	o := &demo.Options{}
	cmd := app.Command("demo", "Serve in front of two S3 stores of its own, to try it out. Needs no configuration.")
	cmd.Flag("break", "Stop a store at the start: first or second.").PlaceHolder("STORE").EnumVar(&o.Break, "first", "second")
	cmd.Flag("dir", "Where the stores keep their objects.").Default("data").StringVar(&o.Dir)
	// The stores check no signatures, so nobody else is let in by default.
	cmd.Flag("listen", "Where to serve.").Default("127.0.0.1:8080").StringVar(&o.Listen)
	cmd.Flag("admin", "Where to serve metrics and the like; \"\" is nowhere.").Default("127.0.0.1:8071").StringVar(&o.Admin)
	return cmd, o
}

// repairFlags are those of `akubra repair`.
type repairFlags struct {
	once, follow, dryRun, parked bool
}

func repairCommand(app *kingpin.Application) (*kingpin.CmdClause, *repairFlags) {
	f := &repairFlags{}
	cmd := app.Command("repair", "Make the backends equal again in what the journal has. Exit code 1 if something is left.")
	cmd.Flag("once", "Try everything once, and end. The default.").BoolVar(&f.once)
	cmd.Flag("follow", "Go on, also with what is yet to come, until it is told to stop.").BoolVar(&f.follow)
	cmd.Flag("dry-run", "Tell what would be done, and do nothing.").BoolVar(&f.dryRun)
	cmd.Flag("parked", "Try those again that were set aside after too many failures.").BoolVar(&f.parked)
	return cmd, f
}

// journalCommands are `akubra journal …`, once `akubra synclog …`: they read the journal,
// also beside a running proxy.
type journalCommands struct {
	list, stats, export, show, dump *kingpin.CmdClause

	json, offline           bool
	backend, bucket, reason string
	limit                   int
	object                  string
}

func newJournalCommands(app *kingpin.Application) *journalCommands {
	s := &journalCommands{}
	parent := app.Command("journal", "Read the journal: what the backends owe. A running proxy is not disturbed.").Alias("synclog")
	s.list = parent.Command("list", "A line for each key that is not the same on all backends, oldest first.")
	s.show = parent.Command("show", "All that is known of one key, and what each backend has of it now, side by side.")
	s.stats = parent.Command("stats", "How many there are, by backend, reason and age.")
	s.export = parent.Command("export", "A JSON line for each key and backend, in the synclog's form, for a repair of your own.")
	s.dump = journalDumpCommand(parent)
	for _, cmd := range []*kingpin.CmdClause{s.list, s.stats, s.show} {
		cmd.Flag("json", "JSON instead of a table.").BoolVar(&s.json)
	}
	for _, cmd := range []*kingpin.CmdClause{s.list, s.stats, s.export} {
		cmd.Flag("backend", "Only what this backend owes.").PlaceHolder("HOST:PORT").StringVar(&s.backend)
		cmd.Flag("bucket", "Only this bucket.").PlaceHolder("BUCKET").StringVar(&s.bucket)
		cmd.Flag("reason", "Only what is parked for this reason (lost, conflict, damaged, not kept, needs a person, failed), or owed for one that has these words in it.").
			PlaceHolder("REASON").StringVar(&s.reason)
	}
	for _, cmd := range []*kingpin.CmdClause{s.list, s.export} {
		cmd.Flag("limit", "Only the first so many; 0 is all.").PlaceHolder("N").IntVar(&s.limit)
	}
	s.show.Flag("offline", "Do not ask the backends.").BoolVar(&s.offline)
	s.show.Arg("key", "BUCKET/KEY, or BUCKET or BUCKET?SETTING, as list has it.").Required().StringVar(&s.object)
	return s
}

func (s *journalCommands) is(command string) bool {
	for _, cmd := range []*kingpin.CmdClause{s.list, s.stats, s.export, s.show, s.dump} {
		if cmd.FullCommand() == command {
			return true
		}
	}
	return false
}

// resolveFlags are those of `akubra resolve`.
type resolveFlags struct {
	object, take, prefer, reason          string
	del, accept, newest, all, dryRun, yes bool
}

func resolveCommand(app *kingpin.Application) (*kingpin.CmdClause, *resolveFlags) {
	f := &resolveFlags{}
	cmd := app.Command("resolve", "Decide about a key that is parked, or about all of them. Exit code 1 if one could not be settled.")
	cmd.Arg("key", "BUCKET/KEY, as journal list has it.").StringVar(&f.object)
	cmd.Flag("take", "All backends get what this one has, also where that is nothing.").PlaceHolder("HOST:PORT").StringVar(&f.take)
	cmd.Flag("delete", "It is deleted from all backends.").BoolVar(&f.del)
	cmd.Flag("accept", "It stays as it is on each backend, and is not pending any more.").BoolVar(&f.accept)
	cmd.Flag("newest", "All backends get what is the youngest by the backends' own clocks.").BoolVar(&f.newest)
	cmd.Flag("all", "Decide about all parked keys, with --newest, --prefer or --accept. It says first what it would do, and asks.").BoolVar(&f.all)
	cmd.Flag("prefer", "With --all: all backends get what this one has, also where that is nothing.").PlaceHolder("HOST:PORT").StringVar(&f.prefer)
	cmd.Flag("reason", "With --all: only what is parked for this reason.").PlaceHolder("REASON").StringVar(&f.reason)
	cmd.Flag("dry-run", "Tell what would be done, and do nothing.").BoolVar(&f.dryRun)
	cmd.Flag("yes", "With --all: do not ask.").BoolVar(&f.yes)
	return cmd, f
}

// verifyFlags are those of `akubra verify`.
type verifyFlags struct {
	bucket, prefix, missing  string
	all, deep, journal, json bool
}

func verifyCommand(app *kingpin.Application) (*kingpin.CmdClause, *verifyFlags) {
	f := &verifyFlags{}
	cmd := app.Command("verify", "Compare the backends, and tell every key that differs. Exit code 1 if there is one, 2 if not all could be compared, 64 where it is called in a wrong way.")
	cmd.Flag("all", "All buckets that any backend has.").BoolVar(&f.all)
	cmd.Flag("bucket", "The bucket.").PlaceHolder("BUCKET").StringVar(&f.bucket)
	cmd.Flag("prefix", "Only keys that begin so.").PlaceHolder("PREFIX").StringVar(&f.prefix)
	cmd.Flag("deep", "Compare the content and metadata too, which reads every object.").BoolVar(&f.deep)
	cmd.Flag("journal", "Journal the differences, for repair.").BoolVar(&f.journal)
	cmd.Flag("missing", "Of keys that a backend lacks repair is to copy all but those that a history says were deleted, or park all; by default it copies those that a history says were never there.").
		PlaceHolder("copy|park").EnumVar(&f.missing, repair.MissingCopy, repair.MissingPark)
	cmd.Flag("json", "A JSON line for each difference.").BoolVar(&f.json)
	return cmd, f
}
