// A stand-in for the few parts of Unreal Engine that the plugin touches: enough to compile it and to play it without the
// engine. Signatures follow the API reference of Unreal Engine 5.3. Only tests use it.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using int32 = std::int32_t;
using uint8 = std::uint8_t;
using uint32 = std::uint32_t;
using uint64 = std::uint64_t;
using TCHAR = char16_t;
using ANSICHAR = char;
#define TEXT(text) u##text

#define UCLASS(...)
#define USTRUCT(...)
#define UENUM(...)
#define UPROPERTY(...)
#define UFUNCTION(...)
#define STUB_JOIN_(a, b, c) a##_##b##c
#define STUB_JOIN(a, b, c) STUB_JOIN_(a, b, c)
#define GENERATED_BODY() STUB_JOIN(CURRENT_FILE_ID, __LINE__, _GENERATED_BODY)

template <class T>
std::remove_reference_t<T>&& MoveTemp(T&& one) {
    static_assert(std::is_lvalue_reference_v<T> && !std::is_const_v<std::remove_reference_t<T>>, "as in the engine");
    return static_cast<std::remove_reference_t<T>&&>(one);
}

// Text

namespace stub {
std::u16string from_utf8(const char* text, std::size_t size);
std::string to_utf8(const TCHAR* text, std::size_t size);
}  // namespace stub

class FString {
public:
    FString() = default;
    FString(const TCHAR* text) : text_(text) {}
    FString(int32 count, const TCHAR* text) : text_(count ? std::u16string(text, static_cast<std::size_t>(count)) : std::u16string()) {}
    const TCHAR* operator*() const { return text_.c_str(); }
    TCHAR operator[](int32 index) const { return text_[static_cast<std::size_t>(index)]; }
    int32 Len() const { return static_cast<int32>(text_.size()); }
    bool IsEmpty() const { return text_.empty(); }
    void Reset() { text_.clear(); }
    bool EndsWith(const TCHAR* end) const {
        const std::u16string tail(end);
        return text_.size() >= tail.size() && text_.compare(text_.size() - tail.size(), tail.size(), tail) == 0;
    }
    FString Replace(const TCHAR* what, const TCHAR* with) const {
        const std::u16string from(what), to(with);
        std::u16string out = text_;
        for (std::size_t at = 0; (at = out.find(from, at)) != std::u16string::npos; at += to.size()) out.replace(at, from.size(), to);
        return FString(out.c_str());
    }
    FString& operator+=(const FString& more) {
        text_ += more.text_;
        return *this;
    }
    friend FString operator+(FString a, const FString& b) { return a += b; }
    friend bool operator==(const FString& a, const FString& b) { return a.text_ == b.text_; }
    friend bool operator!=(const FString& a, const FString& b) { return a.text_ != b.text_; }
    friend bool operator<(const FString& a, const FString& b) { return a.text_ < b.text_; }

private:
    std::u16string text_;
};

struct FName {
    FName(const TCHAR* text) : Text(text) {}
    FString Text;
};

class FUTF8ToTCHAR {
public:
    FUTF8ToTCHAR(const ANSICHAR* text, int32 size) : text_(stub::from_utf8(text, static_cast<std::size_t>(size))) {}
    const TCHAR* Get() const { return text_.c_str(); }
    int32 Length() const { return static_cast<int32>(text_.size()); }

private:
    std::u16string text_;
};

class FTCHARToUTF8 {
public:
    FTCHARToUTF8(const TCHAR* text, int32 size) : text_(stub::to_utf8(text, static_cast<std::size_t>(size))) {}
    const ANSICHAR* Get() const { return text_.c_str(); }
    int32 Length() const { return static_cast<int32>(text_.size()); }

private:
    std::string text_;
};

// Containers and pointers

template <class T>
class TArray {
public:
    int32 Add(T one) { return items_.push_back(std::move(one)), Num() - 1; }
    int32 Num() const { return static_cast<int32>(items_.size()); }
    void Reset() { items_.clear(); }
    int32 Remove(const T& one) {
        const std::size_t before = items_.size();
        for (std::size_t at = items_.size(); at-- > 0;)
            if (items_[at] == one) items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(at));
        return static_cast<int32>(before - items_.size());
    }
    const T& operator[](int32 index) const { return items_[static_cast<std::size_t>(index)]; }
    T& operator[](int32 index) { return items_[static_cast<std::size_t>(index)]; }
    auto begin() const { return items_.begin(); }
    auto end() const { return items_.end(); }

private:
    std::vector<T> items_;
};

template <class K, class V>
class TMap {
public:
    V& Add(const K& key, const V& value) { return items_[key] = value; }
    const V* Find(const K& key) const {
        const auto at = items_.find(key);
        return at == items_.end() ? nullptr : &at->second;
    }

private:
    std::map<K, V> items_;
};

template <class T>
class TSharedPtr {
public:
    TSharedPtr() = default;
    TSharedPtr(std::nullptr_t) {}
    explicit TSharedPtr(std::shared_ptr<T> one) : one_(std::move(one)) {}
    bool IsValid() const { return one_ != nullptr; }
    T* Get() const { return one_.get(); }
    T* operator->() const { return one_.get(); }
    T& operator*() const { return *one_; }
    void Reset() { one_.reset(); }
    friend bool operator==(const TSharedPtr& a, const TSharedPtr& b) { return a.one_ == b.one_; }

private:
    std::shared_ptr<T> one_;
};

template <class T, class... A>
TSharedPtr<T> MakeShared(A&&... arguments) {
    return TSharedPtr<T>(std::make_shared<T>(std::forward<A>(arguments)...));
}

// Objects

class UWorld;

class UObject {
public:
    virtual ~UObject() = default;
    virtual UWorld* GetWorld() const { return nullptr; }
    virtual void BeginDestroy() {}
    std::shared_ptr<bool> StubAlive = std::make_shared<bool>(true);
};

namespace stub {
std::vector<std::unique_ptr<UObject>>& objects();
void collect_garbage();  // everything
}  // namespace stub

template <class T>
T* NewObject() {
    auto made = std::make_unique<T>();
    T* const raw = made.get();
    stub::objects().push_back(std::move(made));
    return raw;
}

template <class T>
T* GetMutableDefault() {
    static T one;
    return &one;
}
template <class T>
const T* GetDefault() {
    return GetMutableDefault<T>();
}

template <class T>
class TWeakObjectPtr {
public:
    TWeakObjectPtr() = default;
    TWeakObjectPtr(T* one) : one_(one) {
        if (one) alive_ = one->StubAlive;
    }
    T* Get() const { return alive_.expired() ? nullptr : one_; }

private:
    T* one_ = nullptr;
    std::weak_ptr<bool> alive_;
};

// Delegates

class FDelegateHandle {
public:
    uint64 Id = 0;
};

template <class... A>
class TStubDynamicDelegate {
public:
    void Broadcast(A... arguments) const {
        const auto calls = calls_;
        for (const auto& call : calls) call(arguments...);
    }
    bool IsBound() const { return !calls_.empty(); }
    void StubAdd(std::function<void(A...)> call) { calls_.push_back(std::move(call)); }
    void Clear() { calls_.clear(); }

private:
    std::vector<std::function<void(A...)>> calls_;
};

template <class... A>
class TMulticastDelegate {
public:
    template <class T, class O>
    FDelegateHandle AddUObject(O* object, void (T::*method)(A...)) {
        const FDelegateHandle handle{++last_};
        calls_.push_back({handle.Id, object, object->StubAlive, [object, method](A... arguments) { (object->*method)(arguments...); }});
        return handle;
    }
    bool Remove(FDelegateHandle handle) {
        return drop([&](const Call& call) { return call.id == handle.Id; });
    }
    void RemoveAll(const void* object) {
        drop([&](const Call& call) { return call.object == object; });
    }
    void Broadcast(A... arguments) const {
        const auto calls = calls_;  // one may remove itself, or others
        for (const Call& call : calls)
            if (!call.alive.expired() && has(call.id)) call.call(arguments...);
    }
    int32 StubCount() const { return static_cast<int32>(calls_.size()); }

private:
    struct Call {
        uint64 id;
        const void* object;
        std::weak_ptr<bool> alive;
        std::function<void(A...)> call;
    };
    bool has(uint64 id) const {
        for (const Call& call : calls_)
            if (call.id == id) return true;
        return false;
    }
    template <class Which>
    bool drop(Which which) {
        const std::size_t before = calls_.size();
        for (std::size_t at = calls_.size(); at-- > 0;)
            if (which(calls_[at])) calls_.erase(calls_.begin() + static_cast<std::ptrdiff_t>(at));
        return calls_.size() < before;
    }
    std::vector<Call> calls_;
    uint64 last_ = 0;
};

#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(Name, T1, N1) \
    class Name : public TStubDynamicDelegate<T1> {}
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(Name, T1, N1, T2, N2) \
    class Name : public TStubDynamicDelegate<T1, T2> {}
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_ThreeParams(Name, T1, N1, T2, N2, T3, N3) \
    class Name : public TStubDynamicDelegate<T1, T2, T3> {}
#define DECLARE_MULTICAST_DELEGATE(Name) typedef TMulticastDelegate<> Name
#define DECLARE_MULTICAST_DELEGATE_ThreeParams(Name, T1, T2, T3) typedef TMulticastDelegate<T1, T2, T3> Name
#define DECLARE_MULTICAST_DELEGATE_FourParams(Name, T1, T2, T3, T4) typedef TMulticastDelegate<T1, T2, T3, T4> Name

struct FTickerDelegate {
    template <class T>
    static FTickerDelegate CreateUObject(T* object, bool (T::*method)(float)) {
        return {object->StubAlive, [object, method](float seconds) { return (object->*method)(seconds); }};
    }
    std::weak_ptr<bool> alive;
    std::function<bool(float)> call;
};

class FTSTicker {
public:
    struct FDelegateHandle {
        uint64 Id = 0;
    };
    static FTSTicker& GetCoreTicker();
    FDelegateHandle AddTicker(const FTickerDelegate& delegate, float delay = 0.0f);
    void RemoveTicker(FDelegateHandle handle);
    void StubFrame();
    std::map<uint64, FTickerDelegate> StubTickers;
};

// The game

class FSubsystemCollectionBase {};

class USubsystem : public UObject {
public:
    virtual void Initialize(FSubsystemCollectionBase&) {}
    virtual void Deinitialize() {}
};

class UGameInstanceSubsystem : public USubsystem {};

class UGameInstance : public UObject {
public:
    template <class T>
    T* GetSubsystem() const {
        return static_cast<T*>(Subsystem);  // there is one kind
    }
    template <class T>
    void StubInit() {
        Subsystem = NewObject<T>();
        FSubsystemCollectionBase collection;
        Subsystem->Initialize(collection);
    }
    USubsystem* Subsystem = nullptr;
};

class UWorld : public UObject {
public:
    UGameInstance* GetGameInstance() const { return Game; }
    UGameInstance* Game = nullptr;
};

namespace EEndPlayReason {
enum Type { Destroyed, LevelTransition, EndPlayInEditor, RemovedFromWorld, Quit };
}

struct FActorComponentTickFunction {
    bool bCanEverTick = true;
};

class UActorComponent : public UObject {
public:
    FActorComponentTickFunction PrimaryComponentTick;
    UWorld* GetWorld() const override { return World; }
    virtual void EndPlay(const EEndPlayReason::Type) {}
    UWorld* World = nullptr;
};

class UDeveloperSettings : public UObject {
public:
    virtual FName GetCategoryName() const { return TEXT(""); }
};

class UBlueprintAsyncActionBase : public UObject {
public:
    virtual void Activate() {}
    void RegisterWithGameInstance(const UObject* context) { Registered = context != nullptr; }
    void SetReadyToDestroy() { Destroyed = true; }
    bool Registered = false, Destroyed = false;
};

class IModuleInterface {
public:
    virtual ~IModuleInterface() = default;
    virtual void StartupModule() {}
    virtual void ShutdownModule() {}
};
#define IMPLEMENT_MODULE(Class, Name)                                       \
    std::unique_ptr<IModuleInterface> stub_module() { return std::make_unique<Class>(); }

// The platform

extern bool GIsEditor;

namespace stub {
void log(const TCHAR* format, std::vector<const TCHAR*> arguments);
std::vector<std::string>& logged();
}  // namespace stub
#define DECLARE_LOG_CATEGORY_EXTERN(Name, Default, Compiled) struct Name##_Stub {}; extern Name##_Stub Name
#define DEFINE_LOG_CATEGORY(Name) Name##_Stub Name
#define UE_LOG(Name, Verbosity, Format, ...) ((void)Name, stub::log(Format, {__VA_ARGS__}))

class FProcHandle {
public:
    bool IsValid() const { return Pid > 0; }
    void Reset() { Pid = 0; }
    pid_t Pid = 0;
};

struct FPlatformProcess {
    static FProcHandle CreateProc(const TCHAR* program, const TCHAR* arguments, bool detached, bool hidden, bool really_hidden,
                                  uint32* id, int32 priority, const TCHAR* folder, void* pipe_out, void* pipe_in = nullptr);
    static bool IsProcRunning(FProcHandle& handle) { return handle.IsValid() && ::waitpid(handle.Pid, nullptr, WNOHANG) == 0; }
    static void TerminateProc(FProcHandle& handle, bool = false) {
        ::kill(handle.Pid, SIGKILL);
        ::waitpid(handle.Pid, nullptr, 0);
    }
    static void CloseProc(FProcHandle& handle) { handle.Reset(); }
};
