package statesync

// A Level is how a change of the state is kept.
type Level string

const (
	// High is committed to the store before the reply is sent.
	High Level = "high"

	// Low goes from one gateway's memory to the others' over the peer channel,
	// if there is one. Losing it costs time and nothing else.
	Low Level = "low"
)

// A Priority is one line of the table that says how each change of the state
// is kept, and why.
type Priority struct {
	Change string `json:"change"`
	Level  Level  `json:"level"`
	Why    string `json:"why"`

	// Records are the groups of the store, or what their keys begin with, and
	// Messages the kinds of messages between gateways that carry the change.
	Records  []string `json:"records,omitempty"`
	Messages []string `json:"messages,omitempty"`
}

// Priorities returns the table. Every record and every message that a Node
// writes is in it.
func Priorities() []Priority {
	return []Priority{
		{
			Change:  "the cluster comes into being",
			Level:   High,
			Why:     "identity: with another one no filehandle and no client id means anything",
			Records: []string{keyCluster},
		},
		{
			Change:  "client confirmed, destroyed, expired; session created, destroyed",
			Level:   High,
			Why:     "identity: losing it forces recovery on a client",
			Records: []string{prefixIdent, prefixClient, prefixSession, prefixGone, keyEnded},
		},
		{
			Change:  "OPEN, OPEN_DOWNGRADE, CLOSE; LOCK, LOCKU; FREE_STATEID, RELEASE_LOCKOWNER",
			Level:   High,
			Why:     "no two gateways ever grant conflicting opens and locks, and a grant survives the loss of all gateways",
			Records: []string{prefixFile, prefixStates, prefixOwner},
		},
		{
			Change:  "intent and reply of a request that changes something; the names it holds",
			Level:   High,
			Why:     "exactly once: whoever is sent the request again must find out what became of it",
			Records: []string{prefixSlot, prefixDRC, prefixName, keyForgotten},
		},
		{
			Change:  "a gateway joins, keeps its lease, leaves, is declared dead",
			Level:   High,
			Why:     "only the store can say that a gateway writes no more",
			Records: []string{prefixGateway, prefixLease},
		},
		{
			Change:   "what a client or session that ended had is dropped by every gateway",
			Level:    Low,
			Why:      "the word that somebody waits for it; each gateway reads in the store what ended, and writes there, too, that it did",
			Messages: []string{msgEnded.String(), msgCarried.String()},
		},
		{
			Change:   "a record just committed, sent warm to the peers",
			Level:    Low,
			Why:      "a hint: a peer can load it instead",
			Messages: []string{msgFile.String(), msgClosed.String()},
		},
		{
			Change:   "lease renewals of clients (batched; folded into the store every quarter lease)",
			Level:    Low,
			Why:      "a lost one only makes expiry later, never earlier; of a client that was late it is committed before its request runs",
			Records:  []string{keyRenewed},
			Messages: []string{msgRenewed.String()},
		},
		{
			Change:   "slot advance of a request that changes nothing",
			Level:    Low,
			Why:      "running it again is harmless; a gateway that is not sure asks the others, and believes the client if they do not answer, since it only advances after a reply",
			Messages: []string{msgSlotAsk.String(), msgSlotTell.String()},
		},
		{
			Change:   "one gateway's promise not to declare another one dead while neither reaches the store",
			Level:    Low,
			Why:      "without it the other one stops at the end of its lease",
			Messages: []string{msgAsk.String(), msgVouch.String()},
		},
		{
			Change:   "heartbeats of gateways; that one has come, is leaving, or was declared dead",
			Level:    Low,
			Why:      "they make a look at the store come sooner; only the lease there decides",
			Messages: []string{msgAlive.String(), msgJoined.String(), msgKnown.String(), msgLeaving.String(), msgDied.String()},
		},
	}
}
