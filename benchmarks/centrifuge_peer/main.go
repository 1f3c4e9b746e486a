// Command centrifuge_peer is the server that the fan-out benchmark compares our gateway with: the
// Go library centrifuge, on which Centrifugo is built, serving WebSocket viewers of rooms.
//
// It has what our gateway has (recovery from a history of the same length, JSON, bounded client
// queues) and gets its events from a plain TCP line feed, "<channel>\t<json>\n", so that neither
// Kafka nor a publish API is in its CPU time. Our gateway's consuming from Kafka is in ours.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/centrifugal/centrifuge"
)

const (
	// historySize is our gateway's ROOM_RING_EVENTS: what a viewer can resume from.
	historySize = 2000
	historyTTL  = time.Minute
	// clientQueueBytes is the library's default, said here because it is a bound.
	clientQueueBytes = 1 << 20
	feedLineBytes    = 64 * 1024
)

type options struct {
	listen     string
	feed       string
	writeDelay time.Duration
}

func parseOptions() options {
	var chosen options
	flag.StringVar(&chosen.listen, "listen", "127.0.0.1:28900", "address for viewers")
	flag.StringVar(&chosen.feed, "feed", "127.0.0.1:28901", "address of the line feed")
	flag.DurationVar(&chosen.writeDelay, "write-delay", 0,
		"collect messages of one client for this long; 0 writes as soon as possible")
	flag.Parse()
	return chosen
}

// newNode makes a centrifuge node with anonymous viewers and recoverable channels.
func newNode(writeDelay time.Duration) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{
		ClientQueueMaxSize: clientQueueBytes,
		LogLevel:           centrifuge.LogLevelError,
		LogHandler:         func(entry centrifuge.LogEntry) { log.Print(entry.Message, entry.Fields) },
	})
	if err != nil {
		return nil, fmt.Errorf("make node: %w", err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:        &centrifuge.Credentials{UserID: "viewer"},
			WriteDelay:         writeDelay,
			MaxMessagesInFrame: -1,
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{
				Options: centrifuge.SubscribeOptions{EnableRecovery: true},
			}, nil)
		})
	})
	return node, node.Run()
}

// publishLines publishes every line of one feed connection until it ends.
func publishLines(node *centrifuge.Node, feed net.Conn) error {
	defer feed.Close()
	lines := bufio.NewScanner(feed)
	lines.Buffer(make([]byte, feedLineBytes), feedLineBytes)
	for lines.Scan() {
		channel, event, found := bytes.Cut(lines.Bytes(), []byte{'\t'})
		if !found {
			return errors.New("feed: a line without a tab")
		}
		// The scanner reuses its buffer; the node keeps the event in its history.
		event = bytes.Clone(event)
		_, err := node.Publish(string(channel), event,
			centrifuge.WithHistory(historySize, historyTTL))
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return lines.Err()
}

func acceptFeeds(node *centrifuge.Node, listener net.Listener) {
	for {
		feed, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := publishLines(node, feed); err != nil {
				log.Print(err)
			}
		}()
	}
}

func run(chosen options) error {
	node, err := newNode(chosen.writeDelay)
	if err != nil {
		return err
	}
	feeds, err := net.Listen("tcp", chosen.feed)
	if err != nil {
		return fmt.Errorf("listen for feeds: %w", err)
	}
	defer feeds.Close()
	go acceptFeeds(node, feeds)

	routes := http.NewServeMux()
	routes.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node,
		centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }}))
	server := &http.Server{Addr: chosen.listen, Handler: routes, ReadHeaderTimeout: 5 * time.Second}

	stopped, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve viewers: %w", err)
	case <-stopped.Done():
		_ = server.Close()
		return nil
	}
}

func main() {
	if err := run(parseOptions()); err != nil {
		log.Fatal(err)
	}
}
