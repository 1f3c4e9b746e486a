package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// clockTick is USER_HZ, which Linux fixes at 100 for /proc.
const clockTick = 100

// arrivals knows when each viewer of an event's room got it: a table, so that a missing or a
// repeated delivery is found, not only counted.
type arrivals struct {
	viewers  int
	at       []int64
	newest   []int
	total    atomic.Int64
	repeated int64
	strayed  int64
	disorder int64
	plan     *plan
}

func newArrivals(plan *plan, viewers int) *arrivals {
	made := &arrivals{viewers: viewers, plan: plan}
	made.at = make([]int64, plan.count*viewers)
	made.newest = make([]int, len(plan.rooms)*viewers)
	return made
}

func (a *arrivals) arrive(event int, by *viewer, now int64) {
	if a.plan.room(event) != by.room {
		a.strayed++
		return
	}
	place := &a.at[event*a.viewers+by.number]
	if *place != 0 {
		a.repeated++
		return
	}
	*place = max(now, 1)
	newest := &a.newest[by.room*a.viewers+by.number]
	// Only within one array is the order given: arrays of one room may overtake each other.
	if event < *newest && event/a.plan.batch == *newest/a.plan.batch {
		a.disorder++
	}
	*newest = max(event, *newest)
	a.total.Add(1)
}

// window is what happened between the end of the warm-up and the last event's due time.
type window struct {
	seconds   float64
	delivered int64
	cpu       map[string]float64
}

// meter reads the CPU time of groups of processes.
type meter struct{ groups map[string][]int }

func newMeter(groups map[string][]int) *meter { return &meter{groups} }

func (m *meter) measure(plan *plan, seen *arrivals) window {
	waitUntil(plan, plan.measuredFrom())
	began, before, had := time.Now(), m.read(), seen.total.Load()
	if plan.rate <= 0 {
		return window{}
	}
	waitUntil(plan, plan.measuredTo())
	spent := window{
		seconds: time.Since(began).Seconds(), delivered: seen.total.Load() - had,
		cpu: map[string]float64{},
	}
	for name, seconds := range m.read() {
		spent.cpu[name] = seconds - before[name]
	}
	return spent
}

func (m *meter) read() map[string]float64 {
	seconds := map[string]float64{}
	for name, pids := range m.groups {
		for _, pid := range pids {
			spent, err := cpuSeconds(pid)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			seconds[name] += spent
		}
	}
	return seconds
}

// cpuSeconds is the user and system time of a process, all threads, from /proc/<pid>/stat.
func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold spaces: fields are counted from behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, err := strconv.Atoi(string(fields[11]))
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(string(fields[12]))
	if err != nil {
		return 0, err
	}
	return float64(user+system) / clockTick, nil
}

// spread is a distribution in ms.
type spread struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func newSpread(values []int64) spread {
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	at := func(part float64) float64 {
		return float64(values[min(int(part*float64(len(values))), len(values)-1)]) / 1e6
	}
	return spread{int64(len(values)), at(.5), at(.9), at(.99), at(.999), at(1)}
}

// report is what the run prints.
type report struct {
	Events       int                `json:"events"`
	Acknowledged int64              `json:"acknowledged"`
	Refused      int64              `json:"refused"`
	Delivered    int64              `json:"delivered"`
	Missing      int64              `json:"missing"`
	Repeated     int64              `json:"repeated"`
	Strayed      int64              `json:"strayed"`
	Disorder     int64              `json:"out_of_order"`
	Frames       int64              `json:"frames"`
	Bytes        int64              `json:"bytes"`
	Skipped      int64              `json:"skipped_frames"`
	Closed       int64              `json:"sockets_closed"`
	DueToAck     spread             `json:"due_to_ack"`
	AckToFrame   spread             `json:"ack_to_frame"`
	DueToFrame   spread             `json:"due_to_frame"`
	PostSeconds  float64            `json:"post_seconds"`
	Window       float64            `json:"window_seconds"`
	InWindow     int64              `json:"window_delivered"`
	CPU          map[string]float64 `json:"window_cpu_seconds"`
}

func newReport(plan *plan, seen *arrivals, crowd *crowd, spent window) *report {
	made := &report{
		Events: plan.count, Acknowledged: plan.acknowledged(), Refused: plan.refused.Load(),
		Delivered: seen.total.Load(), Repeated: seen.repeated, Strayed: seen.strayed,
		Disorder: seen.disorder, Frames: crowd.frames, Bytes: crowd.bytes,
		Skipped: crowd.skipped, Closed: crowd.closed,
		Window: spent.seconds, InWindow: spent.delivered, CPU: spent.cpu,
	}
	var dueToAck, ackToFrame, dueToFrame []int64
	for event := range plan.count {
		acked, due := plan.acked[event].Load(), plan.due(event)
		if acked == 0 {
			continue
		}
		made.PostSeconds = max(made.PostSeconds, float64(acked)/1e9)
		if event >= plan.warmup {
			dueToAck = append(dueToAck, acked-due)
		}
		for _, at := range seen.at[event*seen.viewers : (event+1)*seen.viewers] {
			if at == 0 {
				made.Missing++
			} else if event >= plan.warmup {
				ackToFrame = append(ackToFrame, at-acked)
				dueToFrame = append(dueToFrame, at-due)
			}
		}
	}
	made.DueToAck = newSpread(dueToAck)
	made.AckToFrame, made.DueToFrame = newSpread(ackToFrame), newSpread(dueToFrame)
	return made
}
