# A static image with nothing in it but the program.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=-s -o /holdfast ./cmd/holdfast

FROM scratch
COPY --from=build /holdfast /holdfast
# NFS; metrics and /readyz, if --metrics says so.
EXPOSE 2049 9100
ENTRYPOINT ["/holdfast"]
CMD ["serve", "/export"]
