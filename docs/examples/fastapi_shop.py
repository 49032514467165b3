"""A FastAPI application that sends what its customers do."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from worker import AsyncProducer, BufferFull, BufferUnavailable, IngestError, InvalidRecord

log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One producer for the event loop, made when it starts."""
    app.state.producer = AsyncProducer.from_env()
    yield
    await app.state.producer.close()


def producer_of(request: Request) -> AsyncProducer:
    """The application's producer."""
    made: AsyncProducer = request.app.state.producer
    return made


Sender = Annotated[AsyncProducer, Depends(producer_of)]
app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    """What is ordered."""

    customer: str
    amount: float


@app.post("/orders", status_code=201)
async def order(ordered: Order, producer: Sender) -> dict[str, bool]:
    """Take an order. It is worth more than its event: an event that is not sent is noted."""
    try:
        await producer.event("Charged", {"Amount": ordered.amount}, identity=ordered.customer)
    except IngestError as error:  # no room, no Redis, or against the vendor's rules
        log.warning("event not sent: %s", error)
    return {"ordered": True}


@app.put("/profiles/{identity}", status_code=202)
async def update(identity: str, properties: dict[str, Any], producer: Sender) -> dict[str, str]:
    """Pass a profile on. Here sending is all there is to do, so its failure is the answer."""
    return {"id": await producer.profile(properties, identity=identity)}


@app.exception_handler(InvalidRecord)
async def refused(_: Request, error: InvalidRecord) -> JSONResponse:
    """Which fields break which of the vendor's rules."""
    return JSONResponse({"errors": error.errors, "code": error.code}, status_code=422)


@app.exception_handler(BufferFull)
@app.exception_handler(BufferUnavailable)
async def not_now(_: Request, error: Exception) -> JSONResponse:
    """Nothing was taken, or it is not known: the caller tries again."""
    log.warning("not sent: %s", error)
    return JSONResponse({"error": "not now"}, status_code=503, headers={"Retry-After": "1"})
