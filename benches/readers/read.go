// Reads a report by Go's generated stub, looks at each quantity, and prints the seconds that it took and the digits that it saw.
//
// Usage: read HOST:PORT TENANT_ID YEAR MONTH records|packed
package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	reports "secureconnect/reports/v1"
)

// Debian's gRPC is older than its Protocol Buffers, and knows no messages of these.
type codec struct{}

func (codec) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (codec) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func (codec) Name() string {
	return "proto"
}

func init() {
	encoding.RegisterCodec(codec{})
}

func number(text string) int32 {
	value, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return int32(value)
}

func main() {
	address, tenant, way := os.Args[1], os.Args[2], os.Args[5]
	most := grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20))
	connection, err := grpc.Dial(address, grpc.WithInsecure(), most)
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	stream, err := reports.NewReportsServiceClient(connection).GetDetailedUsage(context.Background(), &reports.GetDetailedUsageRequest{
		TenantId: tenant,
		Month:    &reports.YearMonth{Year: number(os.Args[3]), Month: number(os.Args[4])},
		Packed:   way == "packed",
	})
	if err != nil {
		log.Fatal(err)
	}
	digits := 0
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, record := range message.GetRecords() {
			digits += len(record.GetQuantity())
		}
		for _, quantity := range message.GetPackedRecords().GetQuantities() {
			digits += len(quantity)
		}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"seconds": time.Since(start).Seconds(), "digits": digits})
}
