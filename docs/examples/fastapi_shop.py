"""A FastAPI application that sends its customers' orders and profiles."""

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
    """Create one producer for the event loop, and close it at the end."""
    app.state.producer = AsyncProducer.from_env()
    yield
    await app.state.producer.close()


def producer_of(request: Request) -> AsyncProducer:
    """Return the application's producer."""
    made: AsyncProducer = request.app.state.producer
    return made


Sender = Annotated[AsyncProducer, Depends(producer_of)]
app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    """An order."""

    customer: str
    amount: float


@app.post("/orders", status_code=201)
async def order(ordered: Order, producer: Sender) -> dict[str, bool]:
    """Accept an order. It matters more than its event, so log an event that is not sent."""
    try:
        await producer.event("Charged", {"Amount": ordered.amount}, identity=ordered.customer)
    except IngestError as error:  # no room, no Redis, or against the vendor's rules
        log.warning("event not sent: %s", error)
    return {"ordered": True}


@app.put("/profiles/{identity}", status_code=202)
async def update(identity: str, properties: dict[str, Any], producer: Sender) -> dict[str, str]:
    """Forward a profile. Sending is all this does, so the response reports its failure."""
    return {"id": await producer.profile(properties, identity=identity)}


@app.exception_handler(InvalidRecord)
async def refused(_: Request, error: InvalidRecord) -> JSONResponse:
    """Report which fields break which of the vendor's rules."""
    return JSONResponse({"errors": error.errors, "code": error.code}, status_code=422)


@app.exception_handler(BufferFull)
@app.exception_handler(BufferUnavailable)
async def not_now(_: Request, error: Exception) -> JSONResponse:
    """Ask the caller to try again: nothing was accepted, or it is not known."""
    log.warning("not sent: %s", error)
    return JSONResponse({"error": "not now"}, status_code=503, headers={"Retry-After": "1"})
