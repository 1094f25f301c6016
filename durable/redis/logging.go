package redis

import (
	"context"
	"fmt"
	"log/slog"

	goredis "github.com/redis/go-redis/v9"
)

// LogLibrary sends what the Redis client library logs by itself to log, as
// debug messages; nil: nowhere. The library has one logger for the whole
// process, which is why this is for the program's main function only: without it
// the library writes a line to standard error for each failed try to connect.
// What matters of it a Store logs by itself.
func LogLibrary(log *slog.Logger) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	goredis.SetLogger(libraryLog{log})
}

type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client: "+fmt.Sprintf(format, args...))
	}
}
