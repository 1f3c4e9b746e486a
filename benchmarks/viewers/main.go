// Command viewers is the load of the benchmarks: it holds many viewers' sockets, makes the events
// that they are to receive, and tells as JSON how long each took and whether any was missing.
//
// One process does both, so that every interval is measured by one clock. Viewers are served by
// one epoll loop: a goroutine per socket would cost more than some of the servers it measures.
// Events follow an open schedule: one that had to wait counts from when it was due.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

// options say what to load and how; see flag texts.
type options struct {
	protocol   string
	watch      string
	post       string
	feed       string
	roomPrefix string
	rooms      int
	viewers    int
	rate       float64
	events     int
	batch      int
	seconds    float64
	warmup     float64
	textBytes  int
	gift       string
	conns      int
	joinRate   float64
	patience   time.Duration
	cpu        string
}

func parseOptions() options {
	var chosen options
	flag.StringVar(&chosen.protocol, "protocol", "engagement", "engagement or centrifuge")
	flag.StringVar(&chosen.watch, "watch", "", "host:port that viewers connect to")
	flag.StringVar(&chosen.post, "post", "", "host:port that events are posted to over HTTP")
	flag.StringVar(&chosen.feed, "feed", "", "host:port of a line feed, instead of -post")
	flag.StringVar(&chosen.roomPrefix, "room-prefix", "bench-", "rooms are this and a number")
	flag.IntVar(&chosen.rooms, "rooms", 1, "number of rooms")
	flag.IntVar(&chosen.viewers, "viewers", 1, "viewers of each room")
	flag.Float64Var(&chosen.rate, "rate", 0, "events per second over all rooms; 0: no pause")
	flag.IntVar(&chosen.events, "events", 0, "number of events where -rate is 0")
	flag.IntVar(&chosen.batch, "batch", 1, "events per POST")
	flag.Float64Var(&chosen.seconds, "seconds", 10, "measured time")
	flag.Float64Var(&chosen.warmup, "warmup", 2, "time before it that is not measured")
	flag.IntVar(&chosen.textBytes, "text-bytes", 120, "length of a comment")
	flag.StringVar(&chosen.gift, "gift", "", "send this gift instead of comments")
	flag.IntVar(&chosen.conns, "conns", 64, "HTTP connections")
	flag.Float64Var(&chosen.joinRate, "join-rate", 400, "viewers connecting per second")
	flag.DurationVar(&chosen.patience, "patience", 15*time.Second,
		"how long the last events may take")
	flag.StringVar(&chosen.cpu, "cpu", "", "name=pid[+pid…],…: processes whose CPU is measured")
	flag.Parse()
	return chosen
}

func run(chosen options) (*report, error) {
	groups, err := parseGroups(chosen.cpu)
	if err != nil {
		return nil, err
	}
	plan := newPlan(chosen)
	seen := newArrivals(plan, chosen.viewers)
	crowd, err := connect(chosen, plan, seen)
	if err != nil {
		return nil, err
	}
	defer crowd.close()
	stop := make(chan struct{})
	failed := make(chan error, 1)
	go func() { failed <- crowd.follow(stop) }()

	meter := newMeter(groups)
	plan.begin(time.Now().Add(200 * time.Millisecond))
	measured := make(chan window, 1)
	go func() { measured <- meter.measure(plan, seen) }()
	if err := play(chosen, plan); err != nil {
		return nil, err
	}
	spent := <-measured
	waitForArrivals(plan, seen, chosen.patience)
	close(stop)
	if err := <-failed; err != nil {
		return nil, err
	}
	return newReport(plan, seen, crowd, spent), nil
}

// play makes the events, by HTTP or by the line feed.
func play(chosen options, plan *plan) error {
	if chosen.feed != "" {
		return feedLines(chosen.feed, plan)
	}
	return postEvents(chosen, plan)
}

// waitForArrivals returns when everybody has everything, or nothing has come for a while.
func waitForArrivals(plan *plan, seen *arrivals, patience time.Duration) {
	last, since := int64(-1), time.Now()
	for time.Since(since) < patience {
		count := seen.total.Load()
		if count >= plan.acknowledged()*int64(seen.viewers) {
			return
		}
		if count != last {
			last, since = count, time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// parseGroups reads "name=1+2,other=3".
func parseGroups(text string) (map[string][]int, error) {
	groups := map[string][]int{}
	if text == "" {
		return groups, nil
	}
	for _, part := range strings.Split(text, ",") {
		name, pids, found := strings.Cut(part, "=")
		if !found {
			return nil, fmt.Errorf("-cpu: %q has no =", part)
		}
		for _, digits := range strings.Split(pids, "+") {
			pid, err := strconv.Atoi(digits)
			if err != nil {
				return nil, fmt.Errorf("-cpu: %w", err)
			}
			groups[name] = append(groups[name], pid)
		}
	}
	return groups, nil
}

func main() {
	result, err := run(parseOptions())
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
