package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/demo"
	"github.com/akubra/akubra/synclog/repair"
)

// execute does what args say, and returns the process's exit code.
func (c *cli) execute(args []string) int {
	exit := -1 // set if kingpin has answered already, for example --help
	app := kingpin.New("akubra", "Copies every S3 request to all backends at once; the first positive answer is the client's.").
		Version(c.version).UsageWriter(plainUsage{c.stdout}).ErrorWriter(c.stderr).
		Terminate(func(code int) { exit = max(exit, code) })
	app.HelpFlag.Short('h').Help("Show help, also for one command.")
	app.VersionFlag.Help("Print the version.")
	conf := app.Flag("conf", "The configuration, a YAML file (akubra config prints one with every key).").Short('c').PlaceHolder("FILE").String()
	serve := app.Command("serve", "Serve. This is what a bare `akubra -c FILE` does.").Default()
	check, checkFlags := checkCommand(app)
	demo, demoOptions := demoCommand(app)
	journal := newJournalCommands(app)
	repair, repairFlags := repairCommand(app)
	verify, verifyFlags := verifyCommand(app)
	resolve, resolveFlags := resolveCommand(app)
	operate := newOperateCommands(app)
	example := app.Command("config", "Print a configuration to start from, with every key, its default and its meaning.")
	version := app.Command("version", "Print the version and what it was built with.")
	manual := app.Command("man", "Print the manual page, as in: akubra man > akubra.1 && man ./akubra.1")
	completion, shell := completionCommand(app)

	command, err := app.Parse(args)
	switch {
	case exit >= 0:
		return exit
	case err != nil && slices.Contains(args, "verify"):
		_ = c.wrong(wrongUsage(app, args, err))
		return exitUsage
	case err != nil:
		return c.wrong(wrongUsage(app, args, err))
	case command == demo.FullCommand():
		if *conf != "" {
			return c.wrong(errors.New("demo has its own configuration and does not accept -c"))
		}
		return c.demo(demoOptions)
	case command == example.FullCommand():
		fmt.Fprint(c.stdout, c.example)
		return exitOK
	case command == manual.FullCommand():
		fmt.Fprint(c.stdout, c.manual)
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
		if command == operate.reload.FullCommand() {
			fmt.Fprintln(c.stderr, reloadRefused)
		}
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

// wrongUsage says what is wrong with the arguments, naming the flag, which kingpin does not always.
func wrongUsage(app *kingpin.Application, args []string, err error) error {
	said := err.Error()
	if parent, word := noSubcommand(app, args, said); parent != nil {
		var names []string
		for _, sub := range parent.Commands {
			names = append(names, sub.Name)
		}
		if word != "" {
			word = fmt.Sprintf(", not %q", word)
		}
		return fmt.Errorf("%s needs one of %s%s (see akubra %[1]s --help)", parent.Name, strings.Join(names, ", "), word)
	}
	if m := noArgument.FindStringSubmatch(said); m != nil {
		if strings.HasPrefix(m[1], "--") {
			return fmt.Errorf("%s needs a value; one that begins with - is written %[1]s=VALUE (see akubra --help)", m[1])
		}
		return fmt.Errorf("%s needs a value (see akubra --help)", m[1])
	}
	if m := oneOf.FindStringSubmatch(said); m != nil {
		return fmt.Errorf("cannot use %s: must be one of %s (see akubra --help)", argument(args, m[2]), strings.ReplaceAll(m[1], ",", ", "))
	}
	if m := noNumber.FindStringSubmatch(said); m != nil {
		return fmt.Errorf("cannot use %s: must be a whole number (see akubra --help)", argument(args, m[1]))
	}
	word, unexpected := strings.CutPrefix(said, "unexpected ")
	switch _, missing := os.Stat(word); {
	case !unexpected:
		return fmt.Errorf("%w (see akubra --help)", err)
	case missing == nil || strings.HasSuffix(word, ".yaml") || strings.HasSuffix(word, ".yml"):
		return fmt.Errorf("cannot use the argument %q: a configuration is given as -c FILE (see akubra --help)", word)
	}
	return fmt.Errorf("cannot use the argument %q: it is no command, or one too many (see akubra --help)", word)
}

// noSubcommand is the command whose subcommand is missing or is the unknown word, if that is what
// kingpin has said.
func noSubcommand(app *kingpin.Application, args []string, said string) (parent *kingpin.CmdModel, word string) {
	if m := notCommand.FindStringSubmatch(said); m != nil {
		word = m[1]
	} else if !strings.HasPrefix(said, "must select a subcommand of ") {
		return nil, ""
	}
	for _, cmd := range app.Model().Commands {
		if len(cmd.Commands) > 0 && (slices.Contains(args, cmd.Name) || slices.ContainsFunc(cmd.Aliases, func(a string) bool { return slices.Contains(args, a) })) {
			return cmd, word
		}
	}
	return nil, ""
}

// wholeNumber is the value of a flag. kingpin's own takes 1.9 for 1.
type wholeNumber struct{ n *int }

func (w wholeNumber) String() string { return strconv.Itoa(*w.n) }

func (w wholeNumber) Set(s string) (err error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err == nil {
		*w.n = int(n) //nolint:gosec // 31 bits
	}
	return err
}

var (
	notCommand = regexp.MustCompile(`^expected command but got "(.*)"$`)
	noArgument = regexp.MustCompile(`^expected argument for flag '(.*)'$`)
	oneOf      = regexp.MustCompile(`^enum value must be one of (\S+), got '(.*)'$`)
	noNumber   = regexp.MustCompile(`^strconv\.\w+: parsing "(.*)": `)
)

// argument is a value among args, with the flag that it is for.
func argument(args []string, value string) string {
	for i, arg := range args {
		flag, found := strings.CutSuffix(arg, "="+value)
		if !found && arg == value && i > 0 {
			flag, found = args[i-1], true
		}
		if found && strings.HasPrefix(flag, "--") {
			return fmt.Sprintf("%s %q", flag, value)
		}
	}
	return fmt.Sprintf("the argument %q", value)
}

// plainUsage writes kingpin's usage without its [no-], which says nothing here: no flag is on by itself.
type plainUsage struct{ io.Writer }

func (u plainUsage) Write(p []byte) (int, error) {
	_, _ = u.Writer.Write(noFlag.ReplaceAll(p, []byte("--$1     "))) // the columns stay
	return len(p), nil                                               // kingpin panics at an error; output keeps it
}

var noFlag = regexp.MustCompile(`--\[no-\]([a-z-]+)`)

func checkCommand(app *kingpin.Application) (*kingpin.CmdClause, *checkFlags) {
	f := &checkFlags{}
	cmd := app.Command("check", "Check the configuration and report every mistake. Exit code 2 if there is one, 1 if an address or the journal is in use.")
	cmd.Flag("online", "Check the backends too: whether they can be reached, their certificates, clocks, keys, buckets and versioning, and whether they honor conditional writes.").BoolVar(&f.online)
	cmd.Flag("bucket", "Where to try conditional writes, with an object that is deleted again. By default a bucket that all backends have and that keeps no versions.").PlaceHolder("BUCKET").StringVar(&f.bucket)
	cmd.Flag("read-only", "Write nothing, so do not try conditional writes.").BoolVar(&f.readOnly)
	return cmd, f
}

func demoCommand(app *kingpin.Application) (*kingpin.CmdClause, *demo.Options) {
	o := &demo.Options{}
	cmd := app.Command("demo", "Try Akubra out, with two S3 backends of its own. Needs no configuration.")
	cmd.Flag("break", "Start with one backend stopped: first or second.").PlaceHolder("BACKEND").EnumVar(&o.Break, "first", "second")
	cmd.Flag("dir", "Where the backends keep their objects.").Default("data").StringVar(&o.Dir)
	// The backends check no signatures, so only local clients are served by default.
	cmd.Flag("listen", "Where to serve.").Default("127.0.0.1:8080").StringVar(&o.Listen)
	cmd.Flag("admin", "Where to serve metrics and the like; \"\" turns it off.").Default("127.0.0.1:8071").StringVar(&o.Admin)
	return cmd, o
}

// repairFlags are the flags of `akubra repair`.
type repairFlags struct {
	once, follow, dryRun, parked bool
}

func repairCommand(app *kingpin.Application) (*kingpin.CmdClause, *repairFlags) {
	f := &repairFlags{}
	cmd := app.Command("repair", "Repair the backends: bring what the journal lists back in sync. Exit code 1 if something is left.")
	cmd.Flag("once", "Try everything once, then exit. The default.").BoolVar(&f.once)
	cmd.Flag("follow", "Keep repairing, including what comes later, until stopped.").BoolVar(&f.follow)
	cmd.Flag("dry-run", "Show what would be done, but do nothing.").BoolVar(&f.dryRun)
	cmd.Flag("parked", "Also retry the keys that were parked after too many failures.").BoolVar(&f.parked)
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
	parent := app.Command("journal", "Read the journal: what is pending on the backends. A running proxy is not disturbed.").Alias("synclog")
	s.list = parent.Command("list", "List each key that is not the same on all backends, oldest first.")
	s.show = parent.Command("show", "All that is known of one key, and what each backend has of it now, side by side.")
	s.stats = parent.Command("stats", "Count these keys by backend, reason and age.")
	s.export = parent.Command("export", "Print a JSON line for each key and backend, in the synclog's format, for a repair tool of your own.")
	s.dump = journalDumpCommand(parent)
	for _, cmd := range []*kingpin.CmdClause{s.list, s.stats, s.show} {
		cmd.Flag("json", "JSON instead of a table.").BoolVar(&s.json)
	}
	for _, cmd := range []*kingpin.CmdClause{s.list, s.stats, s.export} {
		cmd.Flag("backend", "Only what is pending on this backend.").PlaceHolder("HOST:PORT").StringVar(&s.backend)
		cmd.Flag("bucket", "Only this bucket.").PlaceHolder("BUCKET").StringVar(&s.bucket)
		cmd.Flag("reason", "Only what is parked for this reason (lost, conflict, damaged, not kept, needs a person, failed), or owed for one that has these words in it.").
			PlaceHolder("REASON").StringVar(&s.reason)
	}
	for _, cmd := range []*kingpin.CmdClause{s.list, s.export} {
		cmd.Flag("limit", "Only the first so many; 0 is all.").PlaceHolder("N").SetValue(wholeNumber{&s.limit})
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
	cmd.Flag("dry-run", "Show what would be done, but do nothing.").BoolVar(&f.dryRun)
	cmd.Flag("yes", "With --all: do not ask.").BoolVar(&f.yes)
	return cmd, f
}

// verifyFlags are the flags of `akubra verify`.
type verifyFlags struct {
	bucket, prefix, missing  string
	all, deep, journal, json bool
}

func verifyCommand(app *kingpin.Application) (*kingpin.CmdClause, *verifyFlags) {
	f := &verifyFlags{}
	cmd := app.Command("verify", "Compare the backends and report every key that differs. Exit code 1 if there is one, 2 if not everything could be compared, 64 for wrong usage.")
	cmd.Flag("all", "Compare all buckets that any backend has.").BoolVar(&f.all)
	cmd.Flag("bucket", "The bucket.").PlaceHolder("BUCKET").StringVar(&f.bucket)
	cmd.Flag("prefix", "Only keys that start with this.").PlaceHolder("PREFIX").StringVar(&f.prefix)
	cmd.Flag("deep", "Also compare content and metadata, which reads every object.").BoolVar(&f.deep)
	cmd.Flag("journal", "Write the differences to the journal, for repair.").BoolVar(&f.journal)
	cmd.Flag("missing", "How repair treats keys that a backend lacks: copy all except those known to have been deleted, or park all. By default it copies those known never to have been there.").
		PlaceHolder("copy|park").EnumVar(&f.missing, repair.MissingCopy, repair.MissingPark)
	cmd.Flag("json", "A JSON line for each difference.").BoolVar(&f.json)
	return cmd, f
}
